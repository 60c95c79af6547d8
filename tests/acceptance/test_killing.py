"""A daemon that is killed: what is known of each mail afterwards, and what is not."""

from __future__ import annotations

import signal

import pytest

from mailqueue import events
from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.halfway import AFTER, BEFORE, CONNECTIONS, LATER, Halfway
from tests.acceptance.invariants import assert_doubts_cover_duplicates
from tests.support.daemon import PlainOutbox, leading_to, process, running

pytestmark = pytest.mark.slow


@pytest.mark.backend("sqlite")
async def test_whatever_a_killed_daemon_had_leased_is_in_doubt_at_once(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """The lock of a dead worker is free: its leases are settled at the next start.

    Nobody waits for their end. Where doubt is retried all of them count as in doubt, because
    nobody knows how far each had come.
    """
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGKILL)
        assert await daemon.ended() == -signal.SIGKILL
    leased = outbox.states()["sending"]
    assert leased > CONNECTIONS
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        (started,) = again.told(events.Started)
        assert started.reaped == leased
        await again.until_states(deferred=leased, sent=10 - leased)
        assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 1
    doubtful = outbox.query("SELECT * FROM mailqueue_in_doubt")
    assert len(doubtful) == leased
    assert {row["rule"] for row in outbox.attempts() if row["verdict"] == "in-doubt"} == {
        "lease-expired"
    }
    assert_doubts_cover_duplicates(outbox, relay)


@pytest.mark.backend("sqlite")
async def test_where_doubt_is_held_only_an_announced_dot_is_in_doubt(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A kill before the dot is no doubt: those go back uncharged, and are sent at once."""
    halfway = Halfway(outbox, script, relay)
    halfway.put(on_doubt=OnDoubt.HOLD)
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGKILL)
        await daemon.ended()
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        assert halfway.states(AFTER) == {"held"}
        await again.until_states(held=2, sent=8)
    for address in (*BEFORE, *LATER):
        assert [row["verdict"] for row in outbox.attempts(address)] == ["sent"]
    assert not relay.ledger.duplicates
