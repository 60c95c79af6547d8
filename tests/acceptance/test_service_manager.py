"""What a service manager hears: the notify protocol of systemd, on a real socket."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest

from mailqueue.clock import SystemClock, microseconds
from mailqueue.errors import AlreadyRunningError, SchemaMissingError
from mailqueue.outbox.locks import WorkerLock
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.plays import ANN
from tests.support.daemon import (
    Daemon,
    Notifications,
    PlainOutbox,
    leading_to,
    running,
    settings_for,
)

PERIOD = 0.8
"""Seconds within which the watchdog wants to hear something."""


@pytest.fixture
async def manager(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Notifications]:
    """A service manager that watches what is started during the test."""
    with Notifications() as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(PERIOD * 1e6)))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield manager


async def test_it_is_ready_when_it_takes_mail_and_says_when_it_stops(
    manager: Notifications, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """READY comes once, STOPPING last, and between them a status line for people."""
    async with running(outbox, {"main": leading_to(relay)}):
        await manager.until_heard("READY=1")
        await manager.until_heard("STATUS=0 sending, 0 in the queue")
    await manager.until_heard("STOPPING=1")
    assert manager.count("READY=1") == 1


async def test_it_is_not_ready_without_its_tables(
    manager: Notifications, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """An outbox of another version, or none, ends the start before READY is said."""
    outbox.execute("DROP TABLE mailqueue_schema_version")
    daemon = Daemon(outbox, settings_for(outbox, {"main": leading_to(relay)}))
    with pytest.raises(SchemaMissingError, match="mailqueue db upgrade"):
        await daemon.started()
    await manager.until_heard("STOPPING=1")
    assert not manager.count("READY=1")


async def test_the_status_says_how_much_waits_and_which_relay_is_paused(
    manager: Notifications, outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """One line tells an operator what is wrong, without a look into the log."""
    script.on("CONNECT").reply("554 5.7.1 not you")
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}):
        await manager.until_heard(
            "STATUS=0 sending, 1 in the queue; relay main paused at greeting: 554"
        )


async def test_the_watchdog_is_fed_while_the_queue_is_empty(
    manager: Notifications, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """A daemon with nothing to do is alive, however seldom it looks into the outbox."""
    idle = {"poll": 60, "poll_max": 60}
    async with running(outbox, {"main": leading_to(relay)}, daemon=idle):
        await manager.until_heard("STATUS=", 6)
    assert manager.count("WATCHDOG=1") >= 4


async def test_the_watchdog_is_not_fed_while_the_database_gives_no_answer(
    manager: Notifications, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """A ping tells of progress: somebody who holds the database for ever is noticed."""

    async def fed_by_the_last(statuses: int) -> int:
        fed = manager.count("WATCHDOG=1")
        await manager.until_heard("STATUS=", manager.count("STATUS=") + statuses)
        return manager.count("WATCHDOG=1") - fed

    async with running(outbox, {"main": leading_to(relay)}):
        await manager.until_heard("WATCHDOG=1")
        # Something to write while it is locked: PostgreSQL answers whoever only asks.
        outbox.put(ANN, now=SystemClock().now() + microseconds(PERIOD))
        with outbox.locked():
            await fed_by_the_last(4)
            assert await fed_by_the_last(3) == 0
        await manager.until_heard("WATCHDOG=1", manager.count("WATCHDOG=1") + 1)


async def test_a_reload_is_announced_with_its_time(
    manager: Notifications, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """Managers of version 253 and later wait in vain for a READY whose RELOADING had no time."""
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await manager.until_heard("READY=1")
        daemon.supervisor.reload()
        await manager.until_heard("READY=1", 2)
    (reloading,) = [text for text in manager.heard if text.startswith("RELOADING=1")]
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert found
    assert 0 <= time.monotonic() - int(found[1]) / 1e6 < 60


async def test_it_asks_for_time_while_replies_are_awaited(
    manager: Notifications, outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A shutdown that waits for a final reply is not taken for one that hangs."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.saw(".")
        stopping = asyncio.create_task(daemon.stop())
        await manager.until_heard("EXTEND_TIMEOUT_USEC=")
        assert outbox.state(ANN) == "sending"
        go_on.set()
        await stopping
    order = [text.partition("=")[0] for text in manager.heard]
    assert order.index("STOPPING") < order.index("EXTEND_TIMEOUT_USEC")
    assert outbox.state(ANN) == "sent"


@pytest.mark.backend("sqlite")
async def test_it_is_ready_only_once_its_lock_is_held(
    manager: Notifications,
    outbox: PlainOutbox,
    relay: ScriptedRelay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A daemon that cannot prove that it lives takes no mail, and never says READY."""

    def refused(lock: WorkerLock) -> None:
        raise AlreadyRunningError(f"{lock} is held")

    monkeypatch.setattr(WorkerLock, "acquire", refused)
    daemon = Daemon(outbox, settings_for(outbox, {"main": leading_to(relay)}))
    with pytest.raises(AlreadyRunningError):
        await daemon.started()
    await manager.until_heard("STOPPING=1")
    assert not manager.count("READY=1")
