"""Leases that are worked on stay alive, and it is known when they no longer are."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from mailqueue.clock import FakeClock
from mailqueue.daemon.database import Database
from mailqueue.daemon.keeper import Keeper, LeaseEnd
from mailqueue.daemon.recorder import Recorder
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.tables import recipients
from mailqueue.outbox.workers import Worker, register
from tests.daemon.parts import Told, locked, rows, turns, until
from tests.support.leases import WORKER, take
from tests.support.rows import NOW, SECOND, add_message

LEASE, HEARTBEAT = 120.0, 20.0


@pytest.fixture
def keeper(recorder: Recorder, clock: FakeClock, told: Told) -> Keeper:
    """A keeper of leases of two minutes, not started."""
    return Keeper(WORKER, recorder, heartbeat=HEARTBEAT, lease=LEASE, clock=clock, emit=told.append)


def two_leased(connection: Connection) -> list[LeasedMessage]:
    """Lease two messages for a registered worker."""
    register(connection, Worker(WORKER, "host", 1, "1.0", NOW, NOW))
    add_message(connection)
    add_message(connection)
    return take(connection, until=NOW + round(LEASE) * SECOND)


def ends(path: Path) -> list[int]:
    """Return when each lease ends, in seconds from the beginning."""
    found = rows(path, "SELECT due_at FROM mailqueue_recipients ORDER BY id")
    return [(row[0] - NOW) // SECOND for row in found]


async def test_a_heartbeat_renews_what_is_being_sent_and_nothing_else(
    keeper: Keeper, database: Database, path: Path, clock: FakeClock
) -> None:
    """A lease that nobody works on runs out; the worker is heard of."""
    one, _ = await database.write(two_leased)
    keeper.in_flight = lambda: {one.id}
    clock.advance(HEARTBEAT)
    keeper.start()
    keeper.wake.ring()
    await until(lambda: ends(path) == [140, 120])
    assert rows(path, "SELECT heartbeat_at FROM mailqueue_workers") == [(NOW + 20 * SECOND,)]
    await keeper.stop()


async def test_without_deliveries_it_is_still_heard_of(
    keeper: Keeper, database: Database, path: Path, clock: FakeClock
) -> None:
    """An idle daemon is not a dead one."""
    await database.write(two_leased)
    clock.advance(HEARTBEAT)
    await keeper._beat()
    assert ends(path) == [120, 120]
    assert rows(path, "SELECT heartbeat_at FROM mailqueue_workers") == [(NOW + 20 * SECOND,)]


async def test_a_lease_is_held_until_its_end(
    keeper: Keeper, database: Database, clock: FakeClock
) -> None:
    """After that somebody else may have it."""
    message, _ = await database.write(two_leased)
    end = LeaseEnd.after(LEASE, clock)
    assert end.wall == NOW + 120 * SECOND
    clock.advance(LEASE - 0.001)
    assert keeper.holds(message.leases, end)
    clock.advance(0.001)
    assert not keeper.holds(message.leases, end)


async def test_a_renewal_that_was_written_counts(
    keeper: Keeper, database: Database, clock: FakeClock
) -> None:
    """It holds until the new end, and only what was renewed does."""
    one, two = await database.write(two_leased)
    end = LeaseEnd.after(LEASE, clock)
    keeper.in_flight = lambda: {one.id}
    clock.advance(100)
    await keeper._beat()
    clock.advance(LEASE - 1)
    assert keeper.holds(one.leases, end)
    assert not keeper.holds(two.leases, end)
    clock.advance(1)
    assert not keeper.holds(one.leases, end)


@pytest.mark.parametrize(
    "taken_over",
    [
        pytest.param({"worker": "w2", "lease": 2}, id="another worker"),
        pytest.param({"lease": 3}, id="a later delivery of this worker"),
        pytest.param({"state": "deferred", "worker": None}, id="the janitor"),
    ],
)
async def test_a_heartbeat_that_finds_the_lease_gone_does_not_bring_it_back(
    keeper: Keeper, database: Database, clock: FakeClock, taken_over: dict[str, object]
) -> None:
    """A worker that slept past the end of its lease must not write the dot because it is awake."""
    one, two = await database.write(two_leased)
    end = LeaseEnd.after(LEASE, clock)
    keeper.in_flight = lambda: {one.id, two.id}
    clock.advance(LEASE + 1)

    def take_over(connection: Connection) -> None:
        of_one = recipients.c.message_id == one.id
        connection.execute(update(recipients).where(of_one).values(**taken_over))

    await database.write(take_over)
    await keeper._beat()
    assert not keeper.holds(one.leases, end)
    assert keeper.holds(two.leases, end)
    assert not keeper.holds((*one.leases, *two.leases), end)


async def test_a_renewal_that_waits_for_the_database_does_not_count(
    keeper: Keeper, database: Database, path: Path, clock: FakeClock, recorder: Recorder
) -> None:
    """What others see is what the row says; they take over when that has passed."""
    message, _ = await database.write(two_leased)
    end = LeaseEnd.after(LEASE, clock)
    keeper.in_flight = lambda: {message.id}
    clock.advance(100)
    with locked(path):
        keeper.start()
        keeper.wake.ring()
        await until(lambda: recorder.is_troubled)
        clock.advance(21)
        assert not keeper.holds(message.leases, end)
    await keeper.stop()


async def test_a_renewal_lasts_from_when_it_is_written(
    keeper: Keeper, database: Database, path: Path, clock: FakeClock, recorder: Recorder
) -> None:
    """What it waited for the database is not taken off the lease."""
    message, _ = await database.write(two_leased)
    keeper.in_flight = lambda: {message.id}
    with locked(path):
        keeper.start()
        keeper.wake.ring()
        await until(lambda: recorder.is_troubled)
        clock.advance(50)
    await until(lambda: ends(path) == [170, 120])
    await keeper.stop()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_both_clocks_must_agree(
    keeper: Keeper, database: Database, clock: FakeClock, jump: float
) -> None:
    """Set forward, others see the lease ended; set back, it has really ended all the same."""
    message, _ = await database.write(two_leased)
    end = LeaseEnd.after(LEASE, clock)
    clock.jump(jump)
    if jump < 0:
        assert keeper.holds(message.leases, end)
        clock.advance(LEASE)
    assert not keeper.holds(message.leases, end)


async def test_it_stops_at_once(keeper: Keeper) -> None:
    """Nobody waits for a heartbeat."""
    keeper.start()
    await turns()
    await keeper.stop()
    await keeper.stop()
