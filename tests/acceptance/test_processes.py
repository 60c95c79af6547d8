"""Several daemon processes on one queue, run and reported as one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.support.daemon import (
    DaemonProcess,
    PlainOutbox,
    leading_to,
    process,
    settings_for,
    until,
)

pytestmark = pytest.mark.slow


def children(pid: int) -> list[int]:
    """Return the processes that this one has begun and that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return found


def put(outbox: PlainOutbox, count: int) -> None:
    """Store so many messages, each for one recipient."""
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(count)])


def workers(outbox: PlainOutbox) -> int:
    """Return how many daemons are on record as running."""
    return int(outbox.value("SELECT count(*) FROM mailqueue_workers"))


async def test_each_has_its_share_and_all_are_one_to_the_service_manager(
    outbox: PlainOutbox,
) -> None:
    """Ready once, when all are; together they open no more connections than the relay allows."""
    async with ScriptedRelay(Script()) as relay:
        put(outbox, 60)
        async with process(
            outbox, {"main": leading_to(relay, connections=3)}, daemon={"processes": 2}
        ) as daemon:
            await until(lambda: outbox.states() == {"sent": 60}, what=outbox.states)
            assert workers(outbox) == 2
            assert daemon.notifications.count("READY=1") == 1
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0
        assert workers(outbox) == 0
        assert relay.ledger.most_open <= 3
        assert relay.ledger.duplicates == {}


async def test_one_that_is_killed_is_begun_again_and_nothing_is_lost(outbox: PlainOutbox) -> None:
    """Its leases are settled as those of any dead worker, and the others go on meanwhile."""
    async with (
        ScriptedRelay(Script()) as relay,
        process(
            outbox, {"main": leading_to(relay, connections=4)}, daemon={"processes": 2}
        ) as daemon,
    ):
        first, _ = children(daemon.pid)
        os.kill(first, signal.SIGKILL)
        await daemon.logged("another begins in 1 s")
        put(outbox, 20)
        await until(lambda: outbox.states() == {"sent": 20}, what=outbox.states)
        await until(lambda: len(children(daemon.pid)) == 2, what=outbox.states)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0


async def test_when_the_first_process_is_killed_the_others_end_in_order(
    outbox: PlainOutbox,
) -> None:
    """Nobody would restart or stop them any more."""
    async with (
        ScriptedRelay(Script()) as relay,
        process(outbox, {"main": leading_to(relay)}, daemon={"processes": 2}) as daemon,
    ):
        daemon.signal(signal.SIGKILL)
        await daemon.ended()
        await until(lambda: workers(outbox) == 0, what=lambda: workers(outbox))


async def test_a_reload_reaches_all_and_is_told_once(outbox: PlainOutbox) -> None:
    """The service manager hears of it when the last of them is ready again."""
    async with (
        ScriptedRelay(Script()) as relay,
        process(outbox, {"main": leading_to(relay)}, daemon={"processes": 2}) as daemon,
    ):
        daemon.signal(signal.SIGHUP)
        await daemon.notifications.until_heard("READY=1", 2)
        assert daemon.notifications.count("RELOADING=1") == 1
        assert daemon.log.read_text().count("configuration reloaded") == 2


async def test_one_that_cannot_start_ends_them_all_with_its_status(
    outbox: PlainOutbox, tmp_path: Path
) -> None:
    """What is wrong would be wrong again; a service manager is to see the failure."""
    certificates = tmp_path / "ca.pem"
    certificates.write_text("none\n")
    relays = {"main": {"host": "127.0.0.1", "ca_file": str(certificates)}}
    settings = settings_for(outbox, relays, daemon={"processes": 2})
    async with DaemonProcess(tmp_path, settings) as daemon:
        assert await daemon.ended() == os.EX_CONFIG
    assert str(certificates) in daemon.log.read_text()
