"""What is settled, expired, cleared and held up without anybody asking."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from mailqueue.daemon.janitor import DiskFloor
from mailqueue.events import (
    DiskLow,
    DiskRecovered,
    LeaseReaped,
    LogPinned,
    Pruned,
    RecipientExpired,
    RelayUnknown,
)
from mailqueue.mail.rule import Rule
from mailqueue.outbox import reap
from mailqueue.outbox.checkpoint import log_size
from mailqueue.outbox.locks import WorkerLock
from mailqueue.outbox.tables import recipients
from mailqueue.outbox.workers import Worker, register
from mailqueue.testing import ScriptedRelay
from tests.daemon.parts import PATIENCE, commits, rows, states, turns, until
from tests.daemon.wiring import DAY, Wired
from tests.support.leases import take
from tests.support.rows import NOW, SECOND, add_message


async def leased(wired: Wired, count: int = 1, *, worker: str = "dead", **columns: Any) -> None:
    """Lease so many messages to another worker."""

    def write(connection: Connection) -> None:
        register(connection, Worker(worker, "host", 1, "1.0", NOW, NOW))
        for _ in range(count):
            add_message(connection, **columns)
        take(connection, worker=worker, messages=count)

    await wired.database.write(write)


async def test_a_lease_that_ran_out_is_settled_and_told(wired: Wired) -> None:
    """Its doubt is on record, and the dispatcher looks again."""
    await leased(wired)
    wired.clock.advance(120)
    await wired.janitor().settle()
    assert states(wired.path) == ["deferred"]
    (event,) = wired.told.of(LeaseReaped)
    assert (event.message, event.worker, event.recipient) == (1, "dead", "anna@example.net")
    assert event.decision.verdict.rule is Rule.LEASE_EXPIRED
    assert await wired.dispatcher.wake.wait(0.0)


@pytest.mark.parametrize(
    ("dot_at", "state", "doubts", "attempts"),
    [
        pytest.param(NOW, "held", 1, 1, id="the dot was announced"),
        pytest.param(None, "queued", 0, 0, id="it was not"),
    ],
)
async def test_held_doubt_depends_on_the_announced_dot(
    wired: Wired, dot_at: int | None, state: str, doubts: int, attempts: int
) -> None:
    """At most once: only what cannot have been sent goes out again."""
    await leased(wired, on_doubt="hold")

    def mark(connection: Connection) -> None:
        connection.execute(update(recipients).values(dot_at=dot_at))

    await wired.database.write(mark)
    wired.clock.advance(120)
    await wired.janitor().settle()
    found = rows(wired.path, "SELECT state, doubts, attempts FROM mailqueue_recipients")
    assert found == [(state, doubts, attempts)]


async def test_settling_goes_on_batch_after_batch(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is settled in one round, in transactions that no result has to wait for."""
    monkeypatch.setattr(reap, "BATCH", 3)
    await leased(wired, 8)
    wired.clock.advance(120)
    with commits(wired.database) as committed:
        await wired.janitor().settle()
    assert states(wired.path) == ["deferred"] * 8
    # Three with leases, and one that finds nobody to expire.
    assert len(committed) == 4


async def test_who_waited_too_long_expires_and_is_told(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch after batch, mail of strange names by the global schedule."""
    monkeypatch.setattr(reap, "BATCH", 2)

    def write(connection: Connection) -> None:
        for relay in ("main", "default", "typo"):
            columns = {"lifetime_from": NOW - 432_000 * SECOND}
            add_message(connection, relay=relay, recipient=columns)
            add_message(connection, relay=relay)

    await wired.database.write(write)
    await wired.janitor().settle()
    assert sorted(states(wired.path)) == ["expired"] * 3 + ["queued"] * 3
    told = wired.told.of(RecipientExpired)
    assert sorted(one.relay for one in told) == ["default", "main", "typo"]


async def test_the_leases_of_a_proven_dead_worker_are_settled_at_once(wired: Wired) -> None:
    """Its lock is free: nobody waits for the end of its leases, and it is forgotten."""
    await leased(wired, 2)
    await leased(wired, 1, worker="alive")
    left_behind = wired.path.with_name(f"{wired.path.name}.worker-dead")
    left_behind.touch()
    with WorkerLock(wired.path, "alive"):
        assert await wired.janitor().settle_dead() == 2
    assert states(wired.path) == ["deferred", "deferred", "sending"]
    assert rows(wired.path, "SELECT id FROM mailqueue_workers") == [("alive",)]
    assert not left_behind.exists()


async def test_without_proof_a_worker_is_alive(wired: Wired) -> None:
    """No lock file proves nothing, as on another machine: its leases run out in their time."""
    await leased(wired)
    assert await wired.janitor().settle_dead() == 0
    assert states(wired.path) == ["sending"]


async def test_what_this_worker_sends_is_spared(wired: Wired, relay: ScriptedRelay) -> None:
    """When the clock jumps forward, our own deliveries are not taken from us."""
    relay.script.on(".").silence()
    await wired.database.write(add_message)
    wired.dispatcher.start()
    await relay.saw(".")
    wired.clock.jump(3600)
    await wired.janitor().settle()
    assert states(wired.path) == ["sending"]
    await wired.dispatcher.abort()


async def test_a_low_disk_holds_claims_and_lets_go(
    wired: Wired, tmp_path: Path, relay: ScriptedRelay
) -> None:
    """It is told once, and nothing is claimed until there is room for results again."""
    janitor = wired.janitor(disk=DiskFloor(tmp_path, 2**62))
    janitor._watch_disk()
    janitor._watch_disk()
    assert wired.dispatcher.is_held
    (event,) = wired.told.of(DiskLow)
    assert event.floor == 2**62
    assert not await wired.dispatcher.wake.wait(0.0)
    janitor.upkeep = wired.janitor(disk=DiskFloor(tmp_path, 0)).upkeep
    janitor._watch_disk()
    janitor._watch_disk()
    assert not wired.dispatcher.is_held
    assert await wired.dispatcher.wake.wait(0.0), "what waits goes at once"
    assert len(wired.told.of(DiskRecovered)) == 1
    janitor.upkeep = wired.janitor(disk=DiskFloor(tmp_path, 2**62)).upkeep
    janitor._watch_disk()
    assert len(wired.told.of(DiskLow)) == 2


async def test_a_disk_that_cannot_be_looked_at_holds_nothing(wired: Wired, tmp_path: Path) -> None:
    """Not knowing is no reason to stop mail."""
    disk = DiskFloor(tmp_path / "gone", 2**62)
    assert disk.free() is None
    wired.janitor(disk=disk)._watch_disk()
    assert not wired.dispatcher.is_held


async def test_it_goes_round_by_itself(wired: Wired) -> None:
    """Leases are looked at when it starts and whenever it wakes, and it stops at once."""
    await leased(wired)
    janitor = wired.janitor()
    janitor.start()
    await until(lambda: wired.recorder.is_idle)
    wired.clock.advance(120)
    janitor.wake.ring()
    await until(lambda: states(wired.path) == ["deferred"])
    await asyncio.wait_for(janitor.stop(), PATIENCE)


async def test_each_minute_it_clears_what_is_old(wired: Wired) -> None:
    """Outlived mail goes, and it does not wait for a full hour to do so."""
    old = {"state": "sent", "finished_at": NOW - round(3 * DAY) * SECOND}

    def write(connection: Connection) -> None:
        add_message(connection, enqueued_at=NOW - round(3 * DAY) * SECOND, recipient=old)
        add_message(connection, "waiting@example.net")

    await wired.database.write(write)
    janitor = wired.janitor()
    janitor.start()
    await turns()
    wired.clock.advance(59)
    janitor.wake.ring()
    await until(lambda: wired.recorder.is_idle)
    assert not wired.told.of(Pruned)
    wired.clock.advance(1)
    janitor.wake.ring()
    await until(lambda: wired.told.of(Pruned))
    assert rows(wired.path, "SELECT address FROM mailqueue_recipients") == [
        ("waiting@example.net",)
    ]
    await janitor.stop()


async def test_a_log_that_cannot_be_emptied_is_told_once(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads for long the log grows; it is named once, and emptied when he ends."""
    monkeypatch.setattr("mailqueue.daemon.janitor.LOG_PINNED", 50_000)
    janitor = wired.janitor()
    reader = sqlite3.connect(wired.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM mailqueue_messages").fetchall()
    for _ in range(2):
        await wired.database.write(lambda connection: add_message(connection, raw=b"x" * 60_000))
        await janitor._clear()
    (event,) = wired.told.of(LogPinned)
    assert event.size >= 60_000
    assert event.size <= log_size(wired.path)
    reader.execute("ROLLBACK")
    await janitor._clear()
    assert log_size(wired.path) == 0
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM mailqueue_messages").fetchall()
    await wired.database.write(lambda connection: add_message(connection, raw=b"x" * 60_000))
    await janitor._clear()
    assert len(wired.told.of(LogPinned)) == 2
    reader.close()


async def test_a_relay_that_nobody_configured_is_named_at_once_and_once(wired: Wired) -> None:
    """Mail with a misspelt name waits for nobody; a log that repeats it would not be read."""

    async def arrives(relay: str) -> None:
        await wired.database.write(lambda connection: add_message(connection, relay=relay))
        janitor.wake.ring()

    janitor = wired.janitor()
    janitor.start()
    await arrives("typo")
    await until(lambda: wired.told.of(RelayUnknown))
    await arrives("typo")
    await arrives("other")
    await until(lambda: len(wired.told.of(RelayUnknown)) > 1)
    assert wired.told.of(RelayUnknown) == [RelayUnknown("typo"), RelayUnknown("other")]
    await janitor.stop()


@pytest.mark.parametrize(
    ("silent", "holds_lease", "is_locked", "stays"),
    [
        pytest.param(DAY + 1, False, False, False, id="for a day"),
        pytest.param(DAY - 1, False, False, True, id="for less than a day"),
        pytest.param(DAY + 1, True, False, True, id="with a lease"),
        pytest.param(DAY + 1, False, True, True, id="and its lock is held"),
    ],
)
async def test_a_worker_that_left_no_lock_is_forgotten_after_a_day(
    wired: Wired, silent: float, holds_lease: bool, is_locked: bool, stays: bool
) -> None:
    """Nothing else would ever remove its row, unless its lease is still to be settled."""
    await leased(wired, int(holds_lease))
    lock = WorkerLock(wired.path, "dead")
    if is_locked:
        lock.acquire()
    wired.clock.advance(silent)
    await wired.janitor()._clear()
    assert rows(wired.path, "SELECT id FROM mailqueue_workers") == [("dead",)] * stays
    lock.release()
