"""Relays whose rate comes, changes and goes with the configuration, and mail that waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailqueue.config import Config
from mailqueue.daemon.rations import Rations
from mailqueue.testing import ScriptedRelay
from tests.daemon.parts import config_for, leading_to, states, until
from tests.daemon.wiring import Wired
from tests.support.rows import add_message


def with_rate(relay: ScriptedRelay, rate: str, name: str = "main") -> Config:
    """Return the configuration of one relay that takes so many recipients in a time."""
    keys = leading_to(relay, connections=2, timeouts={"quit": 0.5}, rate=rate, burst=1)
    return config_for({name: keys})


@pytest.fixture
async def rations(wired: Wired, relay: ScriptedRelay) -> AsyncIterator[Rations]:
    """They give out nothing yet: whoever is claimed waits for an instant."""
    rations = Rations(wired.dispatcher, wired.database, clock=wired.clock, emit=wired.told.append)
    await reload(wired, rations, with_rate(relay, "100/s"))
    yield rations
    await wired.dispatcher.stop()
    await rations.stop()


async def reload(wired: Wired, rations: Rations, config: Config) -> None:
    """Put a configuration in force as the supervisor does."""
    for pool in wired.routing.configure(config):
        await pool.close()
    rations.follow()


async def put(wired: Wired, count: int) -> None:
    """Store so many messages and let them be claimed, more than there are carriers."""
    await wired.database.write(lambda connection: [add_message(connection) for _ in range(count)])
    wired.dispatcher.start()
    await until(lambda: wired.dispatcher.in_flight == count)
    wired.dispatcher.is_held = True


async def test_mail_of_a_relay_that_a_reload_removed_waits_for_no_rate(
    wired: Wired, rations: Rations, relay: ScriptedRelay
) -> None:
    """Nobody gives out instants there any more: who waits for one goes back, and who would come
    to wait for one too.
    """
    await put(wired, 6)
    await reload(wired, rations, with_rate(relay, "100/s", "other"))
    await until(lambda: wired.dispatcher.in_flight == 0)
    assert states(wired.path) == ["queued"] * 6


@pytest.mark.parametrize("rate", ["50/s", None])
async def test_mail_waits_for_the_rate_that_holds(
    wired: Wired, rations: Rations, relay: ScriptedRelay, rate: str | None
) -> None:
    """What was claimed under a rate that a reload has replaced is not kept waiting by it."""
    await put(wired, 6)
    if rate is None:
        keys = leading_to(relay, connections=2, timeouts={"quit": 0.5})
        await reload(wired, rations, config_for({"main": keys}))
    else:
        await reload(wired, rations, with_rate(relay, rate))
    await until(lambda: wired.dispatcher.in_flight == 0)
    assert states(wired.path) == ["queued"] * 6
