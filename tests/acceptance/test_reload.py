"""SIGHUP: the new configuration is put in force, or the old one stays and the log says why."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from mailqueue import events
from mailqueue.config import load
from mailqueue.testing import Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.acceptance.plays import ANN, BOB
from tests.support.daemon import (
    Daemon,
    PlainOutbox,
    Settings,
    leading_to,
    process,
    running,
    settings_for,
    write_settings,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration file that a SIGHUP makes the daemon read."""
    return tmp_path / "config.toml"


def _hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def _refused(daemon: Daemon, file: Path, settings: Settings) -> str:
    """Let the daemon read ``settings``, which it must refuse; returns what it says."""
    write_settings(file, settings)
    _hang_up()
    (refused,) = await daemon.until_told(events.ReloadRefused)
    assert not daemon.told(events.Reloaded)
    return refused.problem


async def _still_sends(daemon: Daemon, relay: ScriptedRelay) -> None:
    daemon.outbox.put(BOB)
    await daemon.until(lambda: daemon.outbox.state(BOB) == "sent")
    assert relay.ledger.deliveries(BOB) == 1


@pytest.mark.slow
async def test_sighup_puts_new_relay_settings_in_force(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """Mail that waited for a relay in trouble goes through the new one at once."""
    other = await start_relay(ScriptedRelay())
    script.on("CONNECT").reply("554 5.7.1 not you")
    outbox.put(ANN)
    async with process(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.logged("relay=main paused at greeting")
        daemon.configure(settings_for(outbox, {"main": leading_to(other)}))
        daemon.signal(signal.SIGHUP)
        await other.ledger.wait_for(1)
        await daemon.logged("configuration reloaded")
        assert daemon.notifications.count("RELOADING=1") == 1
        assert daemon.notifications.count("READY=1") == 2
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert outbox.state(ANN) == "sent"


async def test_a_sighup_during_the_start_is_heeded_after_it(
    outbox: PlainOutbox, relay: ScriptedRelay, file: Path
) -> None:
    """Nobody is told that the daemon is ready before it is, and the signal is not lost."""
    keys = settings_for(outbox, {"main": leading_to(relay)})
    write_settings(file, keys)
    daemon = Daemon(outbox, keys, reload=lambda: load(file, environ={}))
    daemon.supervisor.reload()
    await daemon.until_told(events.Reloaded)
    await daemon.stop()
    daemon.supervisor.reload()
    assert [type(event).__name__ for event in daemon.events] == [
        "Started",
        "Reloaded",
        "Stopping",
        "Stopped",
    ]


async def test_an_idle_session_of_old_settings_is_not_used_again(
    outbox: PlainOutbox, relay: ScriptedRelay, start_relay: StartRelay, file: Path
) -> None:
    """After the reload the next mail goes through the new relay, and the old session says QUIT."""
    other = await start_relay(ScriptedRelay())
    keys = {"main": leading_to(relay)}
    async with running(outbox, keys, reload=lambda: load(file, environ={})) as daemon:
        outbox.put(ANN)
        await daemon.until_states(sent=1)
        write_settings(file, settings_for(outbox, {"main": leading_to(other)}))
        _hang_up()
        await daemon.until_told(events.Reloaded)
        outbox.put(BOB)
        await daemon.until_states(sent=2)
        await relay.wait_sessions_closed()
    assert other.ledger.deliveries(BOB) == 1
    assert relay.ledger.sessions[0].verbs[-1] == "QUIT"


async def test_what_has_not_begun_at_a_reload_goes_through_the_new_relay(
    outbox: PlainOutbox,
    script: Script,
    relay: ScriptedRelay,
    start_relay: StartRelay,
    file: Path,
) -> None:
    """A mail that was claimed for the old settings and still waits is sent by the new ones."""
    other, release = await start_relay(ScriptedRelay()), asyncio.Event()
    script.on(".").wait_for(release)
    keys = {"main": leading_to(relay, connections=1, pipelining=False)}
    outbox.put_all([outbox.draft(ANN), outbox.draft(BOB)])
    async with running(outbox, keys, reload=lambda: load(file, environ={})) as daemon:
        await relay.saw(".")
        await daemon.until_states(sending=2)
        write_settings(file, settings_for(outbox, {"main": leading_to(other)}))
        _hang_up()
        await daemon.until_told(events.Reloaded)
        release.set()
        await daemon.until_states(sent=2)
    assert (relay.ledger.deliveries(ANN), other.ledger.deliveries(BOB)) == (1, 1)
    assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 2


async def test_a_configuration_that_is_wrong_changes_nothing(
    outbox: PlainOutbox, relay: ScriptedRelay, file: Path
) -> None:
    """The old one stays in force, and what is wrong is said."""
    keys = {"main": leading_to(relay)}
    async with running(outbox, keys, reload=lambda: load(file, environ={})) as daemon:
        wrong = settings_for(outbox, {"main": leading_to(relay, connections=0)})
        assert "connections" in await _refused(daemon, file, wrong)
        await _still_sends(daemon, relay)


async def test_another_database_is_refused(
    outbox: PlainOutbox, relay: ScriptedRelay, file: Path
) -> None:
    """A daemon stays with its outbox: the database cannot change while it runs."""
    keys = {"main": leading_to(relay)}
    async with running(outbox, keys, reload=lambda: load(file, environ={})) as daemon:
        elsewhere = settings_for(outbox, keys) | {"database": {"url": f"{outbox.url}2"}}
        assert "restart" in await _refused(daemon, file, elsewhere)
        await _still_sends(daemon, relay)


def _unreadable(directory: Path) -> Settings:
    ca_file = directory / "ca.pem"
    ca_file.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    return {"host": "localhost", "tls": "starttls", "ca_file": str(ca_file)}


@pytest.mark.parametrize("order", [list, lambda names: [*reversed(names)]])
async def test_a_certificate_file_that_cannot_be_used_changes_nothing(
    outbox: PlainOutbox,
    relay: ScriptedRelay,
    file: Path,
    order: Callable[[list[str]], list[str]],
) -> None:
    """Whatever is found wrong, however late, all of the old configuration stays in force."""
    before = {"main": leading_to(relay), "second": leading_to(relay)}
    daemons = {"default_relay": "main"}
    async with running(
        outbox, before, reload=lambda: load(file, environ={}), daemon=daemons
    ) as daemon:
        after = {"main": leading_to(relay, connections=3), "second": _unreadable(file.parent)}
        relays = {name: after[name] for name in order(list(after))}
        wrong = settings_for(outbox, relays, daemon=daemons)
        assert "ca_file" in await _refused(daemon, file, wrong)
        await _still_sends(daemon, relay)
        names = {route.name: route.settings.connections for route in daemon.parts.routing.routes}
        assert names == {"main": 10, "second": 10}
