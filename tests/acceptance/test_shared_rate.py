"""A relay's rate, which holds for four daemon processes together."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailqueue.testing import Ledger, ScriptedRelay
from tests.support.daemon import (
    DaemonProcess,
    OutboxFile,
    leading_to,
    process,
    settings_for,
    until,
)
from tests.support.rates import assert_rate

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def daemons(
    outbox: OutboxFile, relay: ScriptedRelay, rates: Sequence[str], **keys: Any
) -> AsyncIterator[Sequence[DaemonProcess]]:
    """Run a daemon for each of these rates."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                process(
                    outbox,
                    {"main": leading_to(relay, connections=8, rate=rate, **keys)},
                    name=f"daemon-{number}",
                    daemon={"lease": 5.0, "heartbeat": 1.0},
                )
            )
            for number, rate in enumerate(rates)
        ]


def put(outbox: OutboxFile, count: int, *, recipients: int = 1) -> None:
    """Store so many messages, each for so many recipients."""
    outbox.put_all(
        [
            outbox.draft(*(f"r{number}-{one}@example.net" for one in range(recipients)))
            for number in range(count)
        ]
    )


def begun(outbox: OutboxFile) -> list[int]:
    """Return when each attempt was begun, by the daemon's own record."""
    return [row["started_at"] for row in outbox.attempts() if row["verdict"] == "sent"]


def pace(ledger: Ledger) -> float:
    """Return how many recipients a second the relay got, on the whole."""
    times = [one.at for one in ledger.accepted for _ in one.recipients]
    return (len(times) - 1) / (times[-1] - times[0])


async def test_four_daemons_hold_the_rate_and_use_it(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """Together they send what is allowed, and never more; each has its part of it."""
    async with daemons(outbox, relay, ["20/s"] * 4, burst=4):
        put(outbox, 120)
        await until(lambda: outbox.states() == {"sent": 120}, what=outbox.states, timeout=30)
        workers = {row["worker"] for row in outbox.attempts()}
    assert_rate(relay.ledger, 20, burst=4, begun=begun(outbox))
    assert pace(relay.ledger) > 14
    assert len(workers) == 4
    assert outbox.value("SELECT max(attempts) FROM mailqueue_recipients") == 1
    assert not relay.ledger.duplicates


async def test_what_a_killed_daemon_had_is_not_missing(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """The others have the whole rate within a moment: nothing is reserved far ahead."""
    async with daemons(outbox, relay, ["20/s"] * 2, burst=4) as (first, _):
        put(outbox, 100)
        await relay.ledger.wait_for(20, timeout=20)
        first.signal(signal.SIGKILL)
        await first.ended()
        killed = len(relay.ledger)
        await relay.ledger.wait_for(killed + 40, timeout=20)
        times = [one.at for one in relay.ledger.accepted[killed + 10 : killed + 40]]
        assert 29 / (times[-1] - times[0]) > 14
    assert_rate(relay.ledger, 20, burst=4, begun=begun(outbox))


async def test_recipients_count_and_no_transaction_has_more_than_a_burst(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """A message for many goes in several transactions, each when its turn has come."""
    async with daemons(outbox, relay, ["30/s"] * 2, burst=5):
        put(outbox, 5, recipients=12)
        await until(lambda: outbox.states() == {"sent": 60}, what=outbox.states, timeout=30)
    assert max(len(one.recipients) for one in relay.ledger.accepted) <= 5
    assert_rate(relay.ledger, 30, burst=5, begun=begun(outbox))


async def test_of_two_rates_the_smaller_one_holds(outbox: OutboxFile, relay: ScriptedRelay) -> None:
    """Whoever has configured more is bound by what another has configured for the same relay."""
    async with daemons(outbox, relay, ["10/s", "100/s"], burst=2):
        put(outbox, 40)
        await until(lambda: outbox.states() == {"sent": 40}, what=outbox.states, timeout=30)
    assert_rate(relay.ledger, 10, burst=2, begun=begun(outbox))


async def test_a_daemon_stops_at_once_though_mail_waits_for_the_rate(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """What waits for its turn goes back uncharged."""
    async with daemons(outbox, relay, ["6/m"], burst=1) as (daemon,):
        put(outbox, 5)
        await relay.ledger.wait_for(1, timeout=20)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended(timeout=5) == 0
    assert outbox.states() == {"sent": 1, "queued": 4}
    assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 1


async def test_a_reload_changes_the_rate_of_what_waits_already(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """Mail that would have waited for half a minute goes as soon as the limit is gone."""
    async with daemons(outbox, relay, ["2/m"]) as (daemon,):
        put(outbox, 10)
        await relay.ledger.wait_for(1, timeout=20)
        without = settings_for(outbox, {"main": leading_to(relay, connections=8)})
        daemon.configure(without)
        daemon.signal(signal.SIGHUP)
        await until(lambda: outbox.states() == {"sent": 10}, what=outbox.states, timeout=10)
    assert outbox.value("SELECT max(attempts) FROM mailqueue_recipients") == 1
