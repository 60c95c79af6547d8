"""Full and broken disks: the queue stops accepting before it stops recording, then recovers."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailqueue import LimitError, Limits, Outbox, OutboxFullError, events
from mailqueue.daemon.database import Database
from mailqueue.outbox.recipe import sqlite_driver
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.invariants import assert_doubts_cover_duplicates, assert_sound
from tests.support.daemon import (
    ROOT,
    Daemon,
    OutboxFile,
    PassingClock,
    leading_to,
    process,
    running,
    settings_for,
    until,
)
from tests.support.kept import kept_driver

ANN, BOB = "ann@example.net", "bob@example.net"
SMALLEST = 4096
"""Octets that a file may have: no page fits into the log, and a few lines into what is logged."""


class Fault:
    """Gives the connection that a daemon writes with a pragma, until it is mended."""

    def __init__(self, database: Database, broken: str, whole: str) -> None:
        self._database = database
        self._broken, self._whole = broken, whole

    def inflict(self) -> None:
        """From now on."""
        self._set(self._broken)

    def mend(self) -> None:
        """As it was before."""
        self._set(self._whole)

    def _set(self, pragma: str) -> None:
        assert self._database._kept is not None
        with self._database._kept.between() as connection:
            driver = sqlite_driver(connection)
            assert driver is not None
            driver.execute(f"PRAGMA {pragma}")


def _fault_of(daemon: Daemon, broken: str, whole: str) -> Fault:
    return Fault(daemon.parts.database, broken, whole)


def _message(text: str = "hello") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "sender@example.org", BOB
    message.set_content(text)
    return message


@pytest.mark.parametrize(
    ("broken", "whole", "word"),
    [
        ("max_page_count=1", "max_page_count=1073741823", "no space left"),
        ("query_only=ON", "query_only=OFF", "cannot be written"),
    ],
    ids=["full", "read-only"],
)
async def test_a_reply_that_cannot_be_written_is_kept_until_it_can(
    broken: str, whole: str, word: str, outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """The 250 came while nothing could be written: it is on record afterwards, and sent once.

    SQLite says SQLITE_FULL, or SQLITE_READONLY as after a file system was remounted.
    """
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    # More than fits into the pages that are there: the reply's row needs a new one.
    script.on(".").reply("250 2.0.0 " + "x" * 900)
    recipients = [f"r{number}@example.net" for number in range(40)]
    outbox.put(*recipients)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        fault = _fault_of(daemon, broken, whole)
        await relay.until(lambda: relay.ledger.seen["."] == 1)
        fault.inflict()
        go_on.set()
        (trouble, *_) = await daemon.until_told(events.DatabaseTrouble)
        assert word in trouble.error
        assert outbox.states() == {"sending": 40}
        fault.mend()
        await daemon.until_states(sent=40)
        assert await daemon.until_told(events.DatabaseRecovered)
        outbox.put(ANN)
        await daemon.until_states(sent=41)
    assert_sound(outbox)
    assert outbox.value("SELECT count(*) FROM mailqueue_in_doubt") == 0
    assert not relay.ledger.duplicates


async def test_nothing_is_claimed_while_nothing_can_be_written(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """A claim that cannot be committed sends nothing; with room again it goes by itself."""
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        fault = _fault_of(daemon, "query_only=ON", "query_only=OFF")
        fault.inflict()
        outbox.put(ANN)
        await daemon.until_told(events.DatabaseTrouble)
        assert outbox.states() == {"queued": 1}
        assert relay.ledger.seen["MAIL"] == 0
        fault.mend()
        await daemon.until_states(sent=1)
    assert len(outbox.attempts()) == 1


async def test_producers_are_refused_before_the_daemon_stops(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """Between the two floors nothing is accepted, and what was accepted before is still sent."""
    free = os.statvfs(outbox.path.parent)
    available = free.f_bavail * free.f_frsize
    # Free is three quarters of what producers must leave, and more than the daemon's half of it.
    floor = available * 4 // 3
    outbox.put(ANN)
    with Outbox(outbox.url, limits=Limits(free_disk=floor)) as producer:
        with pytest.raises(LimitError, match="free_disk"):
            producer.enqueue(_message())
        async with running(
            outbox, {"main": leading_to(relay)}, limits={"free_disk": floor}
        ) as daemon:
            await daemon.until_states(sent=1)
            assert not daemon.told(events.DiskLow)


async def test_below_the_floor_nothing_is_claimed_and_results_are_written(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """The janitor holds the dispatcher; a transaction under way ends on record; room lets go."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.until(lambda: relay.ledger.seen["."] == 1)
        usual = daemon.parts.janitor.upkeep
        assert usual.disk is not None
        low = type(usual.disk)(usual.disk.directory, 2**62)
        daemon.parts.janitor.upkeep = type(usual)(usual.contents, usual.messages, low)
        daemon.parts.janitor.wake.ring()
        await daemon.until_told(events.DiskLow)
        outbox.put(BOB)
        go_on.set()
        await daemon.until_states(sent=1, queued=1)
        await daemon.rounds(2)
        assert outbox.state(BOB) == "queued"
        daemon.parts.janitor.upkeep = usual
        daemon.parts.janitor.wake.ring()
        await daemon.until_states(sent=2)


@pytest.mark.slow
async def test_a_disk_that_fails_every_write_loses_no_result(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """Every write of the daemon's process ends in an I/O error for a while: nothing is lost."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    async with process(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.until(lambda: relay.ledger.seen["."] == 1)
        pid = daemon._process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_FSIZE, (SMALLEST, resource.RLIM_INFINITY))
        go_on.set()
        await relay.until(lambda: len(relay.ledger) == 1)
        await daemon.logged("disk I/O error")
        outbox.put(BOB)
        assert outbox.states() == {"sending": 1, "queued": 1}
        resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)
        await until(lambda: outbox.states() == {"sent": 2}, what=outbox.states)
    assert_sound(outbox)
    assert_doubts_cover_duplicates(outbox, relay)
    assert [row["verdict"] for row in outbox.attempts(ANN)] == ["sent"]


def _can_mount() -> bool:
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _can_mount(), reason="needs `unshare -Urm` to mount a small file system")
def test_a_file_system_that_is_used_up_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """On a real full file system `enqueue` refuses whole; every receipt given is still there."""
    done = subprocess.run(
        [
            *("unshare", "-Urm", "sh", "-c"),
            'mount -t tmpfs -o size=1m none "$1" && exec "$2" -m tests.hostile.fill "$1"',
            *("sh", str(tmp_path), sys.executable),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    acknowledged, found, refused = map(int, done.stdout.split())
    assert acknowledged == found > 0
    assert refused > 0


def test_a_full_database_takes_mail_again_once_there_is_room(outbox: OutboxFile) -> None:
    """`OutboxFullError` stores nothing, and the same producer needs no restart afterwards."""
    with Outbox(outbox.url, limits=Limits(free_disk=None)) as producer:
        kept = producer.enqueue(_message()).id
        kept_driver(producer).execute("PRAGMA max_page_count=1")
        with pytest.raises(OutboxFullError, match="nothing was stored"):
            producer.enqueue(_message("x\n" * 100_000))
        assert outbox.value("SELECT max(id) FROM mailqueue_messages") == kept
        kept_driver(producer).execute("PRAGMA max_page_count=1073741823")
        assert producer.enqueue(_message("x\n" * 100_000)).id
    assert outbox.value("PRAGMA integrity_check") == "ok"


async def test_a_daemon_that_is_stopped_while_the_disk_is_full_leaves_doubt_and_not_loss(
    outbox: OutboxFile, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """What could not be written before the end is found leased, and recorded as in doubt."""
    go_on = asyncio.Event()
    script.on(".").times(1).wait_for(go_on)
    outbox.put(ANN)
    settings = settings_for(outbox, {"main": leading_to(relay)}, daemon={"drain": 1})
    daemon = Daemon(outbox, settings, clock=clock)
    await daemon.started()
    await relay.until(lambda: relay.ledger.seen["."] == 1)
    _fault_of(daemon, "query_only=ON", "query_only=OFF").inflict()
    go_on.set()
    await daemon.until_told(events.DatabaseTrouble)
    stopping = asyncio.create_task(daemon.stop())
    await daemon.until(stopping.done, timeout=30)
    await stopping
    assert outbox.states() == {"sending": 1}
    clock.let_pass(3600)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as again:
        await again.until_told(events.LeaseReaped)
        await again.let_pass(3600)
        await again.until_states(sent=1)
    assert outbox.recipient(ANN)["doubts"] == 1
    assert_doubts_cover_duplicates(outbox, relay)
