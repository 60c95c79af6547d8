"""What one round claims, of which name and in which order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from mailqueue.clock import FakeClock
from mailqueue.daemon.bound import Bound
from mailqueue.daemon.database import Database
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.round import Haul, Plan, claim_round
from mailqueue.daemon.routing import Routing
from mailqueue.mail.priority import Priority
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.daemon.test_routing import pause, routing_for
from tests.support.leases import WORKER
from tests.support.rows import NOW, SECOND, add_message

LEASE = 120.0
PLENTY = 10**9


def plan_for(routing: Routing, *, messages: int = 100, octets: int = PLENTY) -> Plan:
    """Return a plan in which these relays have nothing under way."""
    return Plan(
        openings=routing.openings(now=NOW),
        messages=Bound(messages, {route.name: route.under_way for route in routing.routes}),
        octets=Bound(octets, {route.name: route.octets for route in routing.routes}),
        worker=WORKER,
        lease=LEASE,
        clock=FakeClock(NOW),
    )


async def claimed(database: Database, plan: Plan) -> Haul:
    """Carry out a plan."""
    return await database.write(lambda connection: claim_round(connection, plan))


async def put(database: Database, relay: str, count: int = 1, **columns: Any) -> None:
    """Store so many messages for the relay of this name."""

    def write(connection: Connection) -> None:
        for _ in range(count):
            add_message(connection, relay=relay, **columns)

    await database.write(write)


def names(haul: Haul) -> list[str]:
    """Return which names the mail carries that was claimed, in its order."""
    return [taken.message.relay for taken in haul.taken]


@given(
    waiting=st.lists(
        st.tuples(st.sampled_from(("main", "default")), st.sampled_from(Priority)), max_size=15
    ),
    connections=st.integers(1, 4),
    turns=st.integers(0, 1),
)
def test_no_name_passes_over_more_urgent_mail_of_another(
    tmp_path_factory: Any, waiting: list[tuple[str, Priority]], connections: int, turns: int
) -> None:
    """Priority is strict at a relay, by whichever of its names the mail goes there."""
    routing = routing_for(main={"connections": connections})
    for _ in range(turns):
        routing.turn()
    engine = write_engine(f"sqlite:///{tmp_path_factory.mktemp('round') / 'outbox.db'}")
    schema.create(engine)
    with engine.begin() as connection:
        urgency = {
            add_message(connection, relay=relay, priority=int(priority)): priority
            for relay, priority in waiting
        }
        haul = claim_round(connection, plan_for(routing))
    engine.dispose()
    order = [urgency[taken.message.id] for taken in haul.taken]
    assert order == sorted(priority for _, priority in waiting)[: 2 * connections]


async def test_among_equally_urgent_mail_the_names_take_turns(database: Database) -> None:
    """A name that always has mail does not starve the other."""
    routing = routing_for(main={"connections": 1})
    await put(database, "main", 9)
    await put(database, "default", 9)
    rounds = []
    for _ in range(3):
        rounds.append(names(await claimed(database, plan_for(routing))))
        routing.turn()
    assert rounds == [["main"] * 2, ["default"] * 2, ["main"] * 2]


async def test_a_relay_keeps_its_part_of_the_deliveries(database: Database) -> None:
    """One with a long backlog leaves room for the mail of another that is to come."""
    routing = routing_for(main={"connections": 50}, bulk={})
    await put(database, "main", 30)
    haul = await claimed(database, plan_for(routing, messages=20))
    assert names(haul) == ["main"] * 15


async def test_a_relay_that_stands_idle_may_always_have_one_message(database: Database) -> None:
    """However much another has in memory, and however large the message is."""
    routing = routing_for(main={}, bulk={})
    routing.routes[0].octets = 500
    await put(database, "main")
    await put(database, "bulk", 2, raw=b"x" * 1000)
    assert names(await claimed(database, plan_for(routing, octets=100))) == ["bulk"]


async def test_the_next_due_time_is_that_of_mail_that_could_be_claimed(
    database: Database,
) -> None:
    """Mail of a relay that is paused or busy wakes nobody: what ends the pause does."""
    routing = routing_for(main={}, bulk={}, third={"connections": 1})
    await put(database, "main", recipient={"due_at": NOW + 3 * SECOND})
    await put(database, "bulk", recipient={"due_at": NOW + 5 * SECOND})
    await put(database, "third", recipient={"due_at": NOW + 4 * SECOND})
    assert (await claimed(database, plan_for(routing))).next_due == NOW + 3 * SECOND
    pause(routing, "main")
    routing.routes[2].in_flight = 2
    assert (await claimed(database, plan_for(routing))).next_due == NOW + 5 * SECOND
    routing.routes[1].octets = PLENTY
    assert (await claimed(database, plan_for(routing))).next_due is None


async def test_a_lease_is_counted_from_the_transaction(database: Database) -> None:
    """The plan may have waited for the database as long as a lease lasts."""
    await put(database, "main")
    plan = plan_for(routing_for(main={}))
    assert isinstance(plan.clock, FakeClock)
    plan.clock.advance(500)
    haul = await claimed(database, plan)
    assert haul.end == LeaseEnd(NOW + 620 * SECOND, 620.0)


async def test_names_and_priorities_without_mail_are_asked_for_together(
    database: Database,
) -> None:
    """On a system with little to do a claim costs one statement more than for a single name."""
    routing = routing_for(a={}, b={}, c={})
    await put(database, "b")
    said: list[str] = []

    def claim(connection: Connection) -> Haul:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(said.append)
        try:
            return claim_round(connection, plan_for(routing))
        finally:
            driver.set_trace_callback(None)

    assert names(await database.write(claim)) == ["b"]
    assert [statement.split()[0] for statement in said] == ["SELECT", "SELECT", "UPDATE", "SELECT"]
