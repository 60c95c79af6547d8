"""A running daemon, and an outbox that is closed under it."""

from __future__ import annotations

from sqlalchemy import Engine

from mailqueue.events import FencePutUp, FenceTakenAway
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.fence import Fence, Phase, put_up, take_away
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.halfway import AFTER, BEFORE, CONNECTIONS, LATER, Halfway
from tests.acceptance.plays import ANN
from tests.support.daemon import PlainOutbox, leading_to, running

PLACE = "postgresql+psycopg://db.example.org/mail"


def _put_up(outbox: PlainOutbox, phase: Phase = Phase.DRAINING) -> Engine:
    engine = write_engine(outbox.url)
    with engine.begin() as connection:
        put_up(connection, Fence("c1", phase, PLACE, 1), patience=5)
    return engine


async def test_a_fence_is_obeyed_by_letting_go_of_all_that_is_before_its_dot(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Nothing is claimed, written dots get their reply, the rest goes back uncharged, and when the
    fence is gone everything is sent once.
    """
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with running(outbox, {"main": keys}, daemon={"poll": 60, "poll_max": 60}) as daemon:
        await halfway.reached()
        engine = _put_up(outbox)
        await halfway.let_go_of_those_before()
        await daemon.until(lambda: outbox.states()["sending"] == len(AFTER))
        halfway.go_on.set()
        await daemon.until(lambda: outbox.states() == {"sent": 2, "queued": 8})
        assert halfway.states(BEFORE) == halfway.states(LATER) == {"queued"}
        assert sorted(row["address"] for row in outbox.attempts()) == sorted(AFTER)
        assert [event.fence for event in daemon.told(FencePutUp)] == [f"is being moved to {PLACE}"]
        halfway.repair()
        with engine.begin() as connection:
            take_away(connection)
        await daemon.until_states(sent=10)
        assert daemon.told(FenceTakenAway)
    assert not relay.ledger.duplicates
    engine.dispose()


async def test_a_daemon_that_starts_behind_a_fence_waits_for_its_end(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """It claims nothing, expires and prunes nothing, and sends as soon as it may."""
    outbox.put(ANN)
    engine = _put_up(outbox, Phase.ARRIVING)
    keys = leading_to(relay)
    async with running(outbox, {"main": keys}, daemon={"poll": 60, "poll_max": 60}) as daemon:
        await daemon.rounds(3)
        assert outbox.states() == {"queued": 1}
        assert not relay.ledger.seen["CONNECT"]
        with engine.begin() as connection:
            take_away(connection)
        await daemon.until_states(sent=1)
    engine.dispose()
