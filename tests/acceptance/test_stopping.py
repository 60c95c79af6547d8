"""A daemon that is stopped in the middle: real processes, real signals."""

from __future__ import annotations

import signal

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.halfway import AFTER, BEFORE, CONNECTIONS, LATER, Halfway
from tests.support.daemon import OutboxFile, leading_to, process, running, until

pytestmark = pytest.mark.slow


async def test_sigterm_finishes_what_is_past_the_dot_and_hands_back_the_rest(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """Written dots get their reply; everything else goes back uncharged; the exit status is 0."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        await daemon.notifications.until_heard("STOPPING=1")
        await halfway.let_go_of_those_before()
        await until(lambda: outbox.states()["sending"] == len(AFTER), what=outbox.states)
        halfway.go_on.set()
        assert await daemon.ended() == 0
        assert daemon.notifications.count("EXTEND_TIMEOUT_USEC=")
    assert halfway.states(AFTER) == {"sent"}
    assert halfway.states(BEFORE) == halfway.states(LATER) == {"queued"}
    assert [row["address"] for row in outbox.attempts()] == list(AFTER)
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 0
    assert [file.name for file in outbox.path.parent.glob("outbox.db.*")] == []


async def test_a_daemon_that_stopped_in_order_leaves_nothing_for_the_next_to_repair(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """What was handed back goes out at once when the next daemon starts, and nothing twice."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGINT)
        await halfway.let_go_of_those_before()
        halfway.go_on.set()
        assert await daemon.ended() == 0
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        await again.until_states(sent=10)
    assert outbox.value("SELECT sum(doubts) FROM mailqueue_recipients") == 0
    assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 10
    assert not relay.ledger.duplicates


async def test_a_second_sigterm_ends_it_at_once_and_leaves_doubt_on_record(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """It does not wait for replies; the next daemon records the doubt at its start."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        await until(lambda: outbox.states()["sending"] == len(AFTER), what=outbox.states)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 128 + signal.SIGTERM
    assert halfway.states(AFTER) == {"sending"}
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        assert halfway.states(AFTER) == {"deferred"}
        await again.until_states(deferred=2, sent=8)
    for address in AFTER:
        assert outbox.attempt(address)["verdict"] == "in-doubt"


async def test_replies_that_do_not_come_end_as_doubt_when_the_drain_is_over(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """A shutdown waits no longer than configured; what is unanswered then is in doubt."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}, daemon={"drain": 0.5}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert halfway.states(AFTER) == {"deferred"}
    for address in AFTER:
        attempt = outbox.attempt(address)
        assert (attempt["verdict"], attempt["stage"]) == ("in-doubt", "end-of-data")
    assert halfway.states(BEFORE) == halfway.states(LATER) == {"queued"}
