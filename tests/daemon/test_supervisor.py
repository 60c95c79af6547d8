"""The way down, where not even the database lets go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailqueue.clock import SystemClock
from mailqueue.config import Loaded
from mailqueue.daemon import supervisor
from mailqueue.events import DatabaseTrouble, ReloadRefused, Started, Stopped
from mailqueue.testing import Script, ScriptedRelay
from tests.daemon.parts import PATIENCE, locked
from tests.support.daemon import (
    Daemon,
    OutboxFile,
    leading_to,
    loaded,
    running,
    settings_for,
)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OutboxFile]:
    """An empty outbox."""
    outbox = OutboxFile(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


def impatient(outbox: OutboxFile, relay: ScriptedRelay) -> Daemon:
    """Return a daemon that drains for a moment and waits for no lock."""
    settings = settings_for(
        outbox,
        {"main": leading_to(relay)},
        daemon={"drain": 0.05, "poll": 0.1, "poll_max": 0.25},
        database={"url": outbox.url, "busy_timeout": 0.02},
    )
    return Daemon(outbox, settings)


async def test_a_database_that_takes_nothing_does_not_keep_the_process(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends when its time is up; what was not recorded stays leased."""
    monkeypatch.setattr(supervisor, "EXTEND_SECONDS", 0.2)
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put("anna@example.net")
    daemon = impatient(outbox, relay)
    await daemon.started()
    await relay.saw(".")
    with locked(outbox.path):
        go_on.set()
        await daemon.until_told(DatabaseTrouble)
        async with asyncio.timeout(PATIENCE):
            await daemon.stop()
    assert daemon.told(Stopped)
    assert outbox.states() == {"sending": 1}
    # A lock file that nobody holds proves to the next daemon that this one is dead.
    assert len(list(outbox.path.parent.glob("outbox.db.worker-*"))) == 1


async def test_it_stops_in_order_where_the_database_comes_back_in_time(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """Then nothing is lost, and nothing is left in doubt."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put("anna@example.net")
    daemon = impatient(outbox, relay)
    await daemon.started()
    await relay.saw(".")
    with locked(outbox.path):
        go_on.set()
        await daemon.until_told(DatabaseTrouble)
        stopping = asyncio.create_task(daemon.stop())
        await relay.ledger.wait_for(1)
    await asyncio.wait_for(stopping, PATIENCE)
    assert outbox.states() == {"sent": 1}


async def test_it_stops_while_its_start_waits_for_the_database(
    outbox: OutboxFile, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that somebody has locked does not keep the process from being told to end."""
    daemon = impatient(outbox, relay)
    lock = daemon.parts.lock
    assert lock is not None
    with contextlib.ExitStack() as stack:
        # The database is looked at before the worker's lock is taken, and written to after it.
        monkeypatch.setattr(lock, "acquire", lambda: stack.enter_context(locked(outbox.path)))
        await daemon.until_told(DatabaseTrouble)
        async with asyncio.timeout(PATIENCE):
            await daemon.stop("SIGTERM")
    assert not daemon.told(Started)
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 0


async def test_a_start_that_is_given_up_leaves_no_worker(
    outbox: OutboxFile, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next daemon need not wonder whose row it is."""
    daemon = impatient(outbox, relay)
    reached = asyncio.Event()

    async def for_ever() -> int:
        reached.set()
        return await asyncio.Future()

    monkeypatch.setattr(daemon.parts.janitor, "settle_dead", for_ever)
    await asyncio.wait_for(reached.wait(), PATIENCE)
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 1
    await asyncio.wait_for(daemon.stop("SIGTERM"), PATIENCE)
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 0
    assert list(outbox.path.parent.glob("outbox.db.worker-*")) == []


async def test_what_is_told_of_the_database_holds_no_password(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """The log is read by more people than the configuration."""
    daemon = impatient(outbox, relay)
    daemon.parts.database.url = "postgresql://mq:s3cret@db/x"
    await daemon.started()
    await daemon.stop()
    (started,) = daemon.told(Started)
    assert started.database == "postgresql://mq:***@db/x"


async def test_whatever_a_reload_raises_is_told_and_the_daemon_goes_on(
    outbox: OutboxFile, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old configuration stays, and the service manager is told that the reload has ended."""

    def broken() -> Loaded:
        raise OSError("the disk cannot be read")

    async with running(outbox, {"main": leading_to(relay)}, reload=broken) as daemon:
        sent: list[str] = []
        monkeypatch.setattr(daemon.parts.notifier, "send", sent.append)
        daemon.supervisor.reload()
        (refused,) = daemon.told(ReloadRefused)
        assert refused.problem == "OSError: the disk cannot be read"
        assert [text.partition("=")[0] for text in sent] == ["RELOADING", "READY"]
        outbox.put("anna@example.net")
        await daemon.until_states(sent=1)


async def test_a_relay_that_a_reload_removed_is_no_reason_any_more(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """The backlog names no breaker of a relay that this daemon does not have."""
    script.on("CONNECT").reply("554 no")
    keys = {"main": leading_to(relay), "old": leading_to(relay)}
    daemons = {"default_relay": "main"}
    after = loaded(settings_for(outbox, {"main": leading_to(relay)}))
    outbox.put("anna@example.net", relay="old")
    async with running(outbox, keys, reload=lambda: after, daemon=daemons) as daemon:
        await daemon.until(lambda: outbox.relay("old")["breaker"] == "open")
        daemon.supervisor.reload()
        names = "SELECT name FROM mailqueue_relays"
        await daemon.until(lambda: [row["name"] for row in outbox.query(names)] == ["main"])
        assert outbox.value("SELECT breaker FROM mailqueue_backlog") is None


async def test_a_relay_that_is_well_shows_since_when_and_its_last_success(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """From the first start on, and not since 1970."""
    before = SystemClock().now()
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        assert outbox.relay()["since"] >= before
        outbox.put("anna@example.net")
        await daemon.until_states(sent=1)
        await daemon.until(lambda: outbox.relay()["last_success_at"] is not None)
        assert outbox.relay()["last_success_at"] >= outbox.relay()["since"]
