"""A relay's breaker, which holds for four daemon processes together."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.support.daemon import DaemonProcess, PlainOutbox, leading_to, process, until

pytestmark = pytest.mark.slow

LIMIT = 8
QUICK = {"initial": "2s", "factor": 1.0, "maximum": "2s"}
"""A breaker whose pauses pass while one waits."""


@contextlib.asynccontextmanager
async def four(
    outbox: PlainOutbox, relay: ScriptedRelay, **breaker: Any
) -> AsyncIterator[Sequence[DaemonProcess]]:
    """Run four daemons on one outbox, each with its part of the connections."""
    keys = leading_to(relay, connections=LIMIT, breaker=QUICK | breaker)
    async with contextlib.AsyncExitStack() as stack:
        daemons = [
            await stack.enter_async_context(
                process(
                    outbox,
                    {"main": keys},
                    name=f"daemon-{number}",
                    daemon={"lease": 30.0, "heartbeat": 5.0},
                )
            )
            for number in range(4)
        ]
        await until(lambda: granted(outbox) == [2, 2, 2, 2], what=lambda: granted(outbox))
        yield daemons


def granted(outbox: PlainOutbox) -> list[int]:
    """Return how many connections each daemon may have."""
    return [row["granted"] for row in outbox.query("SELECT granted FROM mailqueue_shares")]


def put(outbox: PlainOutbox, count: int) -> None:
    """Store so many messages, each for one recipient."""
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(count)])


def logs(daemons: Sequence[DaemonProcess], text: str) -> int:
    """Return how many of them have said this."""
    return sum(text in daemon.log.read_text() for daemon in daemons)


def prober(outbox: PlainOutbox) -> str | None:
    """Return the worker that is on its way to see."""
    found: str | None = outbox.value("SELECT prober FROM mailqueue_limits")
    return found


async def all_paused(outbox: PlainOutbox, script: Script, daemons: Sequence[DaemonProcess]) -> None:
    """Return when one has met trouble and the others know of it, who may have met it themselves."""
    script.on("CONNECT").reply("421 4.3.2 closed for repairs")
    put(outbox, 1)
    await until(lambda: outbox.relay()["breaker"] == "open", what=outbox.states)
    # All four may meet it in turn: the mail goes back due at once, and each looks twice a second.
    await until(lambda: logs(daemons, "closed for repairs") == 4, what=outbox.states, timeout=2)


async def test_one_that_meets_trouble_stops_all_and_one_success_lets_all_go_on(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """From then on one connection at a time sees whether the relay is well; that it is closes the
    breaker of all.
    """
    async with four(outbox, relay) as daemons:
        await all_paused(outbox, script, daemons)
        before, relay.ledger.most_open = len(relay.ledger.sessions), 0
        put(outbox, 60)
        await relay.until(lambda: len(relay.ledger.sessions) >= before + 4, timeout=30)
        assert relay.ledger.most_open == 1
        script.clear()
        await until(lambda: outbox.states() == {"sent": 61}, what=outbox.states, timeout=20)
        await until(lambda: logs(daemons, "resumed after") == 4, what=outbox.states)
        assert outbox.relay()["breaker"] == "closed"
    assert outbox.value("SELECT max(attempts) FROM mailqueue_recipients") == 1


async def test_one_probes_at_a_time_and_another_if_it_dies(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """The probe of one that is killed on its way is taken up by another."""
    async with four(outbox, relay) as daemons:
        await all_paused(outbox, script, daemons)
        before = relay.ledger.seen["CONNECT"]
        script.clear()
        script.on("CONNECT").times(1).silence()
        put(outbox, 40)
        await relay.saw("CONNECT", before + 1, timeout=20)
        await until(lambda: outbox.relay()["breaker"] == "probing", what=outbox.states)
        worker = prober(outbox)
        pid = outbox.value("SELECT pid FROM mailqueue_workers WHERE id = ?", worker)
        (probing,) = (daemon for daemon in daemons if daemon.pid == pid)
        assert relay.ledger.seen["CONNECT"] == before + 1
        probing.signal(signal.SIGKILL)
        await until(lambda: outbox.states()["sent"] >= 40, what=outbox.states, timeout=20)
        assert outbox.relay()["breaker"] == "closed"
    assert relay.ledger.most_open <= LIMIT
