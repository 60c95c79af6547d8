"""How much is claimed, where it goes, and how the sending ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection

from mailqueue.daemon.delivery import Delivery
from mailqueue.daemon.dispatcher import OCTETS_IN_FLIGHT, Pace
from mailqueue.daemon.routing import Route
from mailqueue.events import PartFailed, RelayPaused, RelayResumed
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.record import Result
from mailqueue.testing import Script, ScriptedRelay
from tests.daemon.parts import PATIENCE, commits, locked, rows, states, turns, until
from tests.daemon.wiring import Wired
from tests.support.leases import UNREACHABLE, take
from tests.support.rows import NOW, SECOND, add_message


async def put(wired: Wired, count: int = 1, **columns: object) -> None:
    """Store so many messages."""

    def write(connection: Connection) -> None:
        for number in range(count):
            address = f"r{number}@example.net"
            add_message(connection, address, **columns)  # type: ignore[arg-type]

    await wired.database.write(write)


async def test_what_is_due_is_sent_and_recorded(wired: Wired, relay: ScriptedRelay) -> None:
    """From rows to rows, each once."""
    await put(wired, 7)
    wired.dispatcher.start()
    await until(lambda: states(wired.path) == ["sent"] * 7)
    assert not relay.ledger.duplicates
    await until(lambda: wired.dispatcher.in_flight == 0)


async def test_a_ring_makes_it_look(wired: Wired, relay: ScriptedRelay) -> None:
    """Mail does not wait for the poll."""
    wired.dispatcher.start()
    await until(lambda: wired.recorder.is_idle)
    await put(wired)
    wired.dispatcher.wake.ring()
    await relay.ledger.wait_for(1)


async def test_no_more_is_claimed_than_there_is_room_for(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """Two sessions, and on each a message under way, one in line and one that is ready: the rest
    stays in the queue for others.
    """
    go_on = asyncio.Event()
    script.on("MAIL").wait_for(go_on)
    await put(wired, 9)
    wired.dispatcher.start()
    await relay.saw("MAIL", 2)
    await turns()
    assert states(wired.path).count("sending") == 6
    assert len(relay.ledger.open_sessions) == 2
    go_on.set()
    await until(lambda: states(wired.path) == ["sent"] * 9)
    assert len(relay.ledger.sessions) == 2


async def test_deliveries_are_bounded_over_all_relays(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """However many sessions the relays would take."""
    script.on("MAIL").silence()
    wired.dispatcher.pace = Pace(deliveries=3, poll=60.0, poll_max=60.0)
    await put(wired, 9)
    wired.dispatcher.start()
    await relay.saw("MAIL", 2)
    await turns()
    assert wired.dispatcher.in_flight == 3


async def test_content_in_memory_is_bounded(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """Once the budget is used up nothing more is claimed, and it is given back with each end."""
    go_on = asyncio.Event()
    script.on("MAIL").wait_for(go_on)
    await put(wired, 2, raw=b"Subject: x\r\n\r\n" + b"x\r\n" * 300)
    wired.route.octets = OCTETS_IN_FLIGHT - 10
    wired.dispatcher.start()
    await relay.saw("MAIL")
    await turns()
    assert wired.dispatcher.in_flight == 1
    go_on.set()
    await until(lambda: states(wired.path) == ["sent", "sent"])
    await until(lambda: wired.dispatcher.in_flight == 0)
    assert wired.route.octets == OCTETS_IN_FLIGHT - 10


async def test_while_it_is_held_nothing_is_claimed(wired: Wired, relay: ScriptedRelay) -> None:
    """Results must find room on the disk; when there is some again, it goes on."""
    wired.dispatcher.is_held = True
    await put(wired)
    with commits(wired.database) as committed:
        wired.dispatcher.start()
        await turns()
    assert not committed
    wired.dispatcher.is_held = False
    wired.dispatcher.wake.ring()
    await relay.ledger.wait_for(1)


async def test_while_the_database_refuses_nothing_is_sent(
    wired: Wired, relay: ScriptedRelay
) -> None:
    """A claim that is not committed sends nothing."""
    await put(wired)
    with locked(wired.path):
        wired.dispatcher.start()
        await until(lambda: wired.recorder.is_troubled)
        await turns()
        assert not relay.ledger.sessions
    await relay.ledger.wait_for(1)


async def test_trouble_of_the_relay_pauses_it_and_charges_nobody(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """All that was claimed goes back as it was, and nothing more is claimed."""
    script.on("CONNECT").reply("554 5.7.1 go away").close()
    await put(wired, 6)
    wired.dispatcher.start()
    await until(lambda: wired.told.of(RelayPaused))
    await until(lambda: wired.dispatcher.in_flight == 0)
    assert states(wired.path) == ["queued"] * 6
    assert rows(wired.path, "SELECT sum(attempts) FROM mailqueue_recipients") == [(0,)]
    assert rows(wired.path, "SELECT count(*) FROM mailqueue_attempts") == [(0,)]
    ((breaker, code),) = rows(wired.path, "SELECT breaker, code FROM mailqueue_relays")
    assert (breaker, code) == ("open", 554)
    assert len(wired.told.of(RelayPaused)) == 1


async def test_one_message_probes_and_then_the_others_follow(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """Until its answer is there the rest of the queue stays where it is."""
    go_on = asyncio.Event()
    script.on("MAIL", session=1).wait_for(go_on)
    await put(wired, 6)
    wired.route.breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0)
    wired.dispatcher.start()
    await turns()
    assert not relay.ledger.sessions
    wired.clock.advance(30)
    wired.dispatcher.wake.ring()
    await relay.saw("MAIL")
    await turns()
    assert states(wired.path).count("sending") == 1
    go_on.set()
    await until(lambda: states(wired.path) == ["sent"] * 6)
    assert wired.told.of(RelayResumed) == [RelayResumed("main", 30.0)]
    assert rows(wired.path, "SELECT breaker FROM mailqueue_relays") == [("closed",)]


async def test_a_probe_shows_in_sql_from_its_beginning_to_its_end(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """Also where it ends without telling anything about the relay."""
    script.on("MAIL").silence()
    await put(wired)
    wired.route.breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0)
    wired.clock.advance(30)
    wired.dispatcher.start()
    await relay.saw("MAIL")
    asked = "SELECT breaker, probe_at FROM mailqueue_relays"
    await until(lambda: rows(wired.path, asked) == [("probing", None)])
    wired.dispatcher.is_held = True
    wired.dispatcher.interrupt()
    await until(lambda: rows(wired.path, asked) == [("open", NOW + 30 * SECOND)])


async def test_a_lease_begins_when_it_is_taken(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """What the claim waited for the database is not taken off it."""
    script.on("MAIL").silence()
    await put(wired)
    with locked(wired.path):
        wired.dispatcher.start()
        await until(lambda: wired.recorder.is_troubled)
        wired.clock.advance(150)
    await relay.saw("MAIL")
    assert rows(wired.path, "SELECT due_at FROM mailqueue_recipients") == [(NOW + 270 * SECOND,)]


async def test_doubt_that_is_to_be_held_is_marked_before_the_dot(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """When the relay sees the dot, the mark is on the disk."""
    script.on(".").silence()
    await put(wired, on_doubt="hold")
    wired.dispatcher.start()
    await relay.saw(".")
    assert rows(wired.path, "SELECT dot_at FROM mailqueue_recipients") == [(NOW,)]
    await wired.dispatcher.abort()
    assert states(wired.path) == ["held"]


async def test_without_that_wish_nothing_is_written_before_the_dot(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """It would cost every mail a commit."""
    script.on(".").silence()
    await put(wired)
    wired.dispatcher.start()
    await relay.saw(".")
    assert rows(wired.path, "SELECT dot_at FROM mailqueue_recipients") == [(None,)]
    await wired.dispatcher.abort()


async def test_no_dot_is_written_after_the_lease_has_ended(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """A worker that was stalled finds that somebody else may be sending its mail."""
    go_on = asyncio.Event()
    script.on("DATA").wait_for(go_on)
    await put(wired)
    wired.dispatcher.start()
    await relay.saw("DATA")
    # The look for more that follows a claim: later, it would take the mail again.
    await until(lambda: wired.recorder.is_idle)
    wired.clock.advance(121)
    wired.dispatcher.is_held = True
    go_on.set()
    await until(lambda: wired.dispatcher.in_flight == 0)
    assert states(wired.path) == ["queued"]
    assert len(relay.ledger) == 0
    assert rows(wired.path, "SELECT sum(attempts) FROM mailqueue_recipients") == [(0,)]


async def test_stop_hands_back_what_has_not_reached_its_dot(
    wired: Wired, script: Script, relay: ScriptedRelay
) -> None:
    """And awaits the reply of what has."""
    go_on = asyncio.Event()
    script.on(".", session=1).wait_for(go_on)
    script.on("DATA", session=2).silence()
    await put(wired, 4)
    wired.dispatcher.start()
    await relay.saw(".")
    await relay.saw("DATA", 2)
    assert wired.dispatcher.past_dot == 1
    stopping = asyncio.create_task(wired.dispatcher.stop())
    await until(lambda: states(wired.path).count("queued") == 3)
    assert not stopping.done()
    go_on.set()
    await asyncio.wait_for(stopping, PATIENCE)
    assert sorted(states(wired.path)) == ["queued", "queued", "queued", "sent"]
    assert rows(wired.path, "SELECT sum(attempts) FROM mailqueue_recipients") == [(1,)]


async def test_what_is_claimed_while_it_stops_is_handed_back(
    wired: Wired, relay: ScriptedRelay
) -> None:
    """A claim that was under way when the signal came leaves no lease behind."""
    await put(wired, 3)
    with locked(wired.path):
        wired.dispatcher.start()
        await until(lambda: wired.recorder.is_troubled)
        stopping = asyncio.create_task(wired.dispatcher.stop())
        await turns()
    await asyncio.wait_for(stopping, PATIENCE)
    assert states(wired.path) == ["queued"] * 3
    assert not relay.ledger.sessions


async def test_stop_twice_and_before_the_start_is_harmless(wired: Wired) -> None:
    """As with every part."""
    await asyncio.wait_for(wired.dispatcher.stop(), PATIENCE)
    await asyncio.wait_for(wired.dispatcher.stop(), PATIENCE)


async def test_a_delivery_that_fails_is_told_and_the_others_go_on(
    wired: Wired, relay: ScriptedRelay
) -> None:
    """One row that cannot be recorded never stops the queue."""
    await put(wired, 3)
    write = wired.reception.settle
    failures = iter((True, False, False))

    def settle(route: Route, delivery: Delivery, results: Sequence[Result]) -> None:
        if next(failures):
            raise ZeroDivisionError
        write(route, delivery, results)

    wired.reception.settle = settle  # type: ignore[method-assign]
    wired.dispatcher.start()
    await until(lambda: states(wired.path).count("sent") == 2)
    assert [event.part for event in wired.told.of(PartFailed)] == ["delivery"]
    await until(lambda: wired.route.in_flight == 0)


async def test_mail_that_another_worker_has_is_left_to_it(
    wired: Wired, relay: ScriptedRelay
) -> None:
    """Two daemons on one outbox never send the same mail."""
    await put(wired, 2)

    def elsewhere(connection: Connection) -> list[LeasedMessage]:
        return take(connection, worker="w2", messages=1, until=NOW + 999 * SECOND)

    await wired.database.write(elsewhere)
    wired.dispatcher.start()
    await relay.ledger.wait_for(1)
    await until(lambda: states(wired.path) == ["sending", "sent"])
    assert len(relay.ledger) == 1
