"""A relay's connection limit, which holds for four daemon processes together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.support.daemon import DaemonProcess, PlainOutbox, leading_to, process, until

pytestmark = pytest.mark.slow

LIMIT = 8
SHORT = {"lease": 3.0, "heartbeat": 0.5}
"""For those that are stopped: it must not take two minutes until they are noticed."""


@contextlib.asynccontextmanager
async def four(
    outbox: PlainOutbox, relay: ScriptedRelay, *, count: int = 4, **keys: Any
) -> AsyncIterator[Sequence[DaemonProcess]]:
    """Run four daemons on one outbox, each configured with the whole limit."""
    settings = {"main": leading_to(relay, connections=LIMIT, **keys)}
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                process(outbox, settings, name=f"daemon-{number}", daemon=SHORT)
            )
            for number in range(count)
        ]


def granted(outbox: PlainOutbox) -> list[int]:
    """Return how many connections each daemon may have, the most first."""
    rows = outbox.query("SELECT granted FROM mailqueue_shares ORDER BY granted DESC")
    return [row["granted"] for row in rows]


async def shared_out(outbox: PlainOutbox, *parts: int) -> None:
    """Return once the daemons have so many connections."""
    await until(lambda: granted(outbox) == list(parts), what=lambda: granted(outbox))


def put(outbox: PlainOutbox, count: int, *, first: int = 0) -> None:
    """Store so many messages, each for one recipient."""
    numbers = range(first, first + count)
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in numbers])


async def test_four_daemons_never_have_more_than_the_limit(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """While they start under load, work, and end one after the other; and nothing is left idle."""
    script.on(".").delay(0.02)
    put(outbox, 600)
    async with four(outbox, relay, messages_per_session=7) as daemons:
        await until(lambda: len(granted(outbox)) == 4, what=lambda: granted(outbox))
        put(outbox, 600, first=600)
        await shared_out(outbox, 2, 2, 2, 2)
        for daemon in daemons[:3]:
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0
        put(outbox, 200, first=1200)
        await shared_out(outbox, LIMIT)
        await until(lambda: outbox.states() == {"sent": 1400}, what=outbox.states, timeout=60)
    assert relay.ledger.most_open <= LIMIT
    assert not relay.ledger.duplicates


async def test_a_daemon_that_is_killed_leaves_its_share_to_the_others(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Its lock is free, so they need not wait until its time is over."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    async with four(outbox, relay) as daemons:
        await shared_out(outbox, 2, 2, 2, 2)
        put(outbox, 100)
        await relay.until(lambda: len(relay.sessions) == LIMIT, timeout=20)
        daemons[0].signal(signal.SIGKILL)
        await daemons[0].ended()
        await until(
            lambda: len(granted(outbox)) == 3 and sum(granted(outbox)) == LIMIT,
            what=lambda: granted(outbox),
            timeout=5,
        )
        await relay.until(lambda: len(relay.sessions) == LIMIT, timeout=5)
        go_on.set()
        await shared_out(outbox, 3, 3, 2)
        # What the dead one had under way is in doubt, and goes later.
        await until(
            lambda: set(outbox.states()) == {"sent", "deferred"}, what=outbox.states, timeout=30
        )
    assert relay.ledger.most_open <= LIMIT


async def test_a_daemon_that_is_stopped_loses_its_share_and_uses_nothing_more_of_it(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """After its time the others have it; when it wakes up it closes what it had, and begins no
    transaction before it has a share again.
    """
    script.on(".").delay(0.02)
    async with four(outbox, relay, count=2) as (first, _):
        await shared_out(outbox, 4, 4)
        put(outbox, 40)
        await until(lambda: outbox.states() == {"sent": 40}, what=outbox.states)
        # Stopped with SQLite's lock in its hand it would stop the others too.
        with outbox.locked() if outbox.is_file else contextlib.nullcontext():
            await first.stopped()
        await shared_out(outbox, LIMIT)
        put(outbox, 400, first=40)
        await relay.until(lambda: len(relay.sessions) >= LIMIT, timeout=10)
        first.signal(signal.SIGCONT)
        await until(lambda: len(granted(outbox)) == 2, what=lambda: granted(outbox))
        await until(lambda: outbox.states() == {"sent": 440}, what=outbox.states, timeout=60)
        await shared_out(outbox, 4, 4)
    assert not relay.ledger.duplicates
    # What stands open in a process that is stopped cannot be closed by anybody.
    assert relay.ledger.most_open <= LIMIT + 4


async def test_what_one_cannot_use_goes_to_another_that_can(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """One has taken all the mail there is; the other, idle, gives up its connections for it."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    async with four(outbox, relay, count=1):
        await shared_out(outbox, LIMIT)
        put(outbox, LIMIT + 4)
        await relay.saw(".", LIMIT, timeout=20)
        async with process(
            outbox, {"main": leading_to(relay, connections=LIMIT)}, name="late", daemon=SHORT
        ):
            await shared_out(outbox, LIMIT, 0)
            go_on.set()
            await until(
                lambda: outbox.states() == {"sent": LIMIT + 4}, what=outbox.states, timeout=30
            )
            await shared_out(outbox, LIMIT // 2, LIMIT // 2)
    assert relay.ledger.most_open <= LIMIT


async def test_of_two_limits_the_smaller_one_holds(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """Whoever has configured more is bound by what another has configured for the same relay."""
    async with (
        process(outbox, {"main": leading_to(relay, connections=20)}, name="a", daemon=SHORT),
        process(outbox, {"main": leading_to(relay, connections=6)}, name="b", daemon=SHORT),
    ):
        await shared_out(outbox, 3, 3)


@pytest.mark.backend("sqlite")
async def test_processes_of_one_daemon_share_as_any_others(outbox: PlainOutbox) -> None:
    """`run --processes 4` divides nothing beforehand: one that is killed is made up for."""
    async with ScriptedRelay(Script()) as relay:
        settings = {"main": leading_to(relay, connections=LIMIT)}
        async with process(outbox, settings, daemon={"processes": 4}) as daemon:
            await shared_out(outbox, 2, 2, 2, 2)
            worker = outbox.value("SELECT max(pid) FROM mailqueue_workers")
            # Else its successor may be there before the others have looked.
            daemon.signal(signal.SIGSTOP)
            os.kill(worker, signal.SIGKILL)
            await until(lambda: max(granted(outbox)) == 3, what=lambda: granted(outbox))
            daemon.signal(signal.SIGCONT)
            await shared_out(outbox, 2, 2, 2, 2)
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0
        assert granted(outbox) == []
