"""A worker that wakes up after its lease has gone: what it brings changes nothing."""

from __future__ import annotations

import asyncio

from mailqueue import events
from mailqueue.clock import SystemClock
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.reap import reap
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.plays import ANN
from tests.support.daemon import PlainOutbox, leading_to, running


def _take_over(outbox: PlainOutbox) -> None:
    """Settle every lease as another worker does that finds it has run out."""
    outbox.execute("UPDATE mailqueue_recipients SET due_at = 1 WHERE state = 'sending'")
    engine = write_engine(outbox.url)
    with engine.begin() as connection:
        settled = reap(connection, lambda _: Backoff(), now=SystemClock().now(), jitter=lambda: 0.0)
    engine.dispose()
    assert len(settled) == 1


async def test_a_result_that_comes_after_the_lease_has_gone_changes_nothing(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """The 250 of a lease that was settled as doubt meanwhile is refused, and said to be."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.saw(".")
        _take_over(outbox)
        before = tuple(outbox.recipient(ANN))
        go_on.set()
        (refused,) = await daemon.until_told(events.ResultRefused)
        assert refused.decision.verdict.outcome == "sent"
        assert tuple(outbox.recipient(ANN)) == before
        assert not daemon.told(events.RecipientAnswered)
    assert outbox.state(ANN) == "deferred"
    assert [row["verdict"] for row in outbox.attempts(ANN)] == ["in-doubt"]


async def test_a_worker_whose_lease_has_gone_does_not_write_the_dot(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Where doubt is held the lease is asked for once more before the dot: nothing is sent."""
    go_on = asyncio.Event()
    script.on("DATA").wait_for(go_on)
    outbox.put(ANN, on_doubt=OnDoubt.HOLD)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.saw("DATA")
        outbox.execute(
            "UPDATE mailqueue_recipients SET lease = lease + 1, worker = 'somebody else'"
        )
        go_on.set()
        await daemon.until_told(events.ResultRefused)
        await relay.until(lambda: not relay.sessions)
        assert (outbox.state(ANN), outbox.recipient(ANN)["worker"]) == ("sending", "somebody else")
        outbox.execute("UPDATE mailqueue_recipients SET state = 'queued', worker = NULL")
    assert relay.ledger.offered == []
    assert outbox.attempts() == []


async def test_a_lease_is_kept_alive_for_as_long_as_its_reply_takes(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A relay may take ten minutes for the final reply; the lease is renewed meanwhile."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    short = {"lease": 0.6, "heartbeat": 0.1}
    async with running(outbox, {"main": leading_to(relay)}, daemon=short) as daemon:
        await relay.saw(".")
        first = outbox.recipient(ANN)["due_at"]
        await daemon.until(lambda: outbox.recipient(ANN)["due_at"] > first + 1_000_000)
        assert outbox.state(ANN) == "sending"
        go_on.set()
        await daemon.until_states(sent=1)
    assert outbox.recipient(ANN)["attempts"] == 1
