"""What a delivery may do, and from which moment it may not any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from mailqueue.clock import FakeClock
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.leave import Leave
from mailqueue.daemon.recorder import RISK_SECONDS
from mailqueue.mail.doubt import OnDoubt
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.pauses import Pause
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from tests.daemon.parts import all_of, locked, rows, turns
from tests.daemon.wiring import Wired
from tests.support.leases import ACCEPTED, UNREACHABLE, result_of, take
from tests.support.rows import NOW, SECOND, add_message


def leave(wired: Wired, **changes: Any) -> Leave:
    """Return the leave that a claim made just now gives at the first relay."""
    given: dict[str, Any] = {
        "route": wired.route,
        "pool": wired.route.pool,
        "is_probe": False,
        "end": LeaseEnd.after(120.0, wired.clock),
        "routing": wired.routing,
        "recorder": wired.recorder,
        "keeper": wired.keeper,
        "clock": wired.clock,
        "is_fenced": lambda: wired.dispatcher.fence is not None,
    }
    return Leave(**given | changes)


async def leased(wired: Wired) -> tuple[Lease, ...]:
    """Store a message for two recipients and lease it."""

    def write(connection: Connection) -> tuple[Lease, ...]:
        add_message(connection, "anna@example.net", "bert@example.net")
        return take(connection)[0].leases

    return await wired.database.write(write)


def marks(wired: Wired) -> list[int | None]:
    """Return when a dot was marked for each recipient."""
    return [one[0] for one in rows(wired.path, "SELECT dot_at FROM mailqueue_recipients")]


async def test_it_may_begin_as_long_as_nothing_speaks_against_it(wired: Wired) -> None:
    """As a rule nothing does."""
    assert await leave(wired).may_begin()


async def test_nothing_begins_behind_a_fence(wired: Wired) -> None:
    """What the outbox takes no result of must not be sent."""
    assert not await leave(wired, is_fenced=lambda: True).may_begin()


async def test_nothing_begins_while_an_operator_pauses_the_relay(wired: Wired) -> None:
    """Not at another relay, and not longer than it was meant."""
    wired.routing.pauses = {"main": Pause(NOW, NOW + SECOND, "olga"), "other": Pause(NOW, None, "")}
    assert not await leave(wired).may_begin()
    wired.clock.advance(1.0)
    assert await leave(wired).may_begin()


async def test_nothing_begins_once_our_share_has_lapsed(wired: Wired) -> None:
    """Others have the connections now: ours are given up."""
    wired.route.tenure = LeaseEnd.after(5.0, wired.clock)
    assert await leave(wired).may_begin()
    wired.clock.advance(5.0)
    assert not await leave(wired).may_begin()
    assert wired.route.pool.limit == 0


async def test_nothing_begins_through_a_pool_that_was_replaced(wired: Wired) -> None:
    """What was claimed before a reload goes by the settings after it, and so goes back first."""
    other = Pool(Relay(wired.route.settings), clock=wired.clock)
    assert not await leave(wired, pool=other).may_begin()
    wired.route.is_in_force = False
    assert not await leave(wired).may_begin()


async def test_only_a_probe_begins_where_the_breaker_is_not_closed(wired: Wired) -> None:
    """The others would meet the same trouble."""
    wired.route.breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0)
    assert not await leave(wired).may_begin()
    assert await leave(wired, is_probe=True).may_begin()


async def test_nothing_begins_while_results_are_too_long_unwritten(
    wired: Wired, clock: FakeClock
) -> None:
    """It waits, and what else speaks against it is looked at after that."""
    lease, _ = await leased(wired)
    with locked(wired.path):
        writing = asyncio.create_task(wired.recorder.record([result_of(lease, ACCEPTED)]))
        await turns()
        clock.advance(RISK_SECONDS + 0.01)
        waiting = asyncio.create_task(leave(wired).may_begin())
        await turns()
        assert not waiting.done()
        wired.routing.pauses = {"main": Pause(NOW, None, "olga")}
    await all_of([writing])
    assert await all_of([waiting]) == [False]


async def test_a_lease_that_is_held_gives_leave_at_once(wired: Wired) -> None:
    """Where doubt is not held nothing is awaited and nothing written before the dot."""
    leases = await leased(wired)
    assert leave(wired).may_write_dot(leases, OnDoubt.RETRY) is True
    assert marks(wired) == [None, None]


@pytest.mark.parametrize("on_doubt", OnDoubt)
async def test_a_lease_that_has_ended_gives_none(wired: Wired, on_doubt: OnDoubt) -> None:
    """Nothing is marked either: the mark would say that a dot may have been written."""
    leases = await leased(wired)
    given = leave(wired)
    wired.clock.advance(120.0)
    assert given.may_write_dot(leases, on_doubt) is False
    assert marks(wired) == [None, None]


async def test_where_doubt_is_held_the_mark_is_committed_first(wired: Wired) -> None:
    """So that a crash before it is no doubt."""
    leases = await leased(wired)
    asked = leave(wired).may_write_dot(leases, OnDoubt.HOLD)
    assert not isinstance(asked, bool)
    assert marks(wired) == [None, None]
    assert await asked
    assert marks(wired) == [NOW, NOW]


async def test_there_is_no_leave_where_one_of_them_was_taken_over(wired: Wired) -> None:
    """Whoever took over may be sending the same mail now."""
    ann, bob = await leased(wired)
    await wired.database.write(lambda connection: take(connection, worker="w2", now=NOW))
    stolen = Lease(bob.recipient, bob.address, bob.token + 1, bob.history)
    asked = leave(wired).may_write_dot((ann, stolen), OnDoubt.HOLD)
    assert not isinstance(asked, bool)
    assert not await asked
