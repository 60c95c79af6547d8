"""What an operator decides while a daemon runs: obeyed within a second, and in nobody's way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mailqueue.clock import SystemClock
from mailqueue.operate import Filter, Operator
from mailqueue.testing import Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.acceptance.plays import ANN, BOB, CEE, says
from tests.support.daemon import PassingClock, PlainOutbox, leading_to, process, running, until

SECOND = 1.0
SLOW = {"poll": 60, "poll_max": 60}
"""So long that only the doorbell can be what wakes the daemon."""


@pytest.mark.slow
async def test_a_daemon_obeys_a_pause_and_its_end_within_a_second(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """From the commit of the pause on mail waits, and from its end on it goes."""
    operator = Operator(outbox.url)
    async with process(outbox, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        operator.pause("main", reason="new address")
        async with asyncio.timeout(SECOND):
            await daemon.logged("relay=main paused by")
        outbox.put(ANN)
        other = asyncio.create_task(relay.saw("CONNECT"))
        done, _ = await asyncio.wait([other], timeout=SECOND)
        assert not done
        assert outbox.states() == {"queued": 1}
        operator.resume("main")
        await relay.ledger.wait_for(1, timeout=SECOND)
        await until(lambda: outbox.states() == {"sent": 1}, what=lambda: str(outbox.states()))
        await other
    operator.close()


@pytest.mark.slow
async def test_a_pause_outlives_the_daemon(outbox: PlainOutbox, relay: ScriptedRelay) -> None:
    """Decided while none runs, and kept by one that starts: the first mail waits already."""
    with Operator(outbox.url, relays=["main"]) as operator:
        operator.pause("main")
        outbox.put(ANN)
        for _ in range(2):
            async with process(outbox, {"main": leading_to(relay)}) as daemon:
                await daemon.logged("relay=main paused by")
                assert outbox.states() == {"queued": 1}
        assert relay.ledger.seen["CONNECT"] == 0
        operator.resume("main")
        async with process(outbox, {"main": leading_to(relay)}):
            await relay.ledger.wait_for(1, timeout=15)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("stage", ["DATA", "."])
async def test_what_is_under_way_finishes_and_nothing_else_begins(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, stage: str, pipelining: bool
) -> None:
    """Who has the connection is answered; who was next, also in line behind it on the same one,
    goes back, and is not charged.
    """
    go_on = asyncio.Event()
    script.on(stage).wait_for(go_on)
    keys = leading_to(relay, connections=1, pipelining=pipelining)
    with Operator(outbox.url) as operator:
        async with running(outbox, {"main": keys}, daemon=SLOW) as daemon:
            outbox.put_all([outbox.draft(one) for one in (ANN, BOB, CEE)])
            await relay.saw(stage)
            await daemon.until(lambda: daemon.parts.dispatcher.in_flight > 1)
            await daemon.rounds()
            operator.pause("main")
            await daemon.until(lambda: bool(daemon.parts.routing.pauses))
            await daemon.until(lambda: daemon.parts.dispatcher.in_flight == 1)
            go_on.set()
            await daemon.until_states(sent=1, queued=2)
            assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 1
            assert outbox.relay("main")["breaker"] == "closed"
            operator.resume("main")
            await daemon.until_states(sent=3)
    assert [len(taken.recipients) for taken in relay.ledger.accepted] == [1, 1, 1]


async def test_a_session_that_was_being_opened_carries_nothing_after_a_pause(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """The pause came before MAIL, so no MAIL comes; and no trouble is seen in it."""
    go_on = asyncio.Event()
    script.on("CONNECT").wait_for(go_on)
    with Operator(outbox.url) as operator:
        async with running(
            outbox, {"main": leading_to(relay, connections=1)}, daemon=SLOW
        ) as daemon:
            outbox.put(ANN)
            await relay.saw("CONNECT")
            operator.pause("main")
            await daemon.until(lambda: bool(daemon.parts.routing.pauses))
            await daemon.rounds()
            go_on.set()
            await daemon.until_states(queued=1)
            assert relay.ledger.seen["MAIL"] == 0
            assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 0
            operator.resume("main")
            await daemon.until_states(sent=1)


async def test_a_pause_ends_by_itself(
    outbox: PlainOutbox, clock: PassingClock, relay: ScriptedRelay
) -> None:
    """At the end that it was given mail goes again, and the log has both."""
    with Operator(outbox.url, clock=clock, relays=["main"]) as operator:
        operator.pause("main", lasting=timedelta(hours=2))
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.let_pass(7_100)
        await daemon.rounds()
        assert outbox.states() == {"queued": 1}
        await daemon.let_pass(100)
        await daemon.until_states(sent=1)


async def test_a_pause_and_the_breaker_are_two_things(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """Trouble before it and probes after it are the breaker's; the pause itself sends no probe."""
    says("421 4.3.2 busy")(script.on("CONNECT").times(1))
    with Operator(outbox.url, clock=clock) as operator:
        async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
            outbox.put(ANN)
            await daemon.until(lambda: outbox.relay()["breaker"] == "open")
            operator.pause("main")
            await daemon.until(lambda: bool(daemon.parts.routing.pauses))
            await daemon.let_pass(3_600)
            await daemon.rounds()
            assert relay.ledger.seen["CONNECT"] == 1
            assert outbox.relay()["breaker"] == "open"
            assert outbox.relay()["paused_by"]
            operator.resume("main")
            await daemon.until_states(sent=1)
        assert outbox.relay()["breaker"] == "closed"


async def test_the_fallback_does_not_take_what_a_person_paused(
    outbox: PlainOutbox, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """A fallback stands in for a relay in trouble, and not for one that shall rest."""
    spare = await start_relay(ScriptedRelay())
    relays = {"main": leading_to(relay, fallback=["spare"]), "spare": leading_to(spare)}
    with Operator(outbox.url, relays=["main"]) as operator:
        operator.pause("main")
        outbox.put(ANN, relay="main")
        outbox.put(BOB, relay="spare")
        async with running(outbox, relays, daemon={"default_relay": "main"}) as daemon:
            await daemon.until_states(sent=1, queued=1)
            await daemon.rounds()
            assert outbox.state(ANN) == "queued"
            assert len(spare.ledger.accepted) == 1
            assert not relay.ledger.accepted


@pytest.mark.slow
async def test_a_daemon_keeps_sending_while_very_many_are_held(
    outbox: PlainOutbox, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """Twenty thousand are held in short transactions; in between, others' mail goes."""
    count = 20_000
    other = await start_relay(ScriptedRelay())
    later = SystemClock().now() + 3_600_000_000
    addresses = [f"b{number}@example.com" for number in range(100)]
    bulk = [outbox.draft(*addresses, send_at=later, relay="bulk") for _ in range(count // 100)]
    outbox.put_all(bulk)
    relays = {"main": leading_to(relay), "bulk": leading_to(other)}
    async with process(outbox, relays, daemon={"default_relay": "main"}):
        with Operator(outbox.url) as operator:
            holding = asyncio.create_task(
                asyncio.to_thread(operator.where(Filter(domain="example.com")).hold)
            )
            sent_meanwhile = 0
            while not holding.done():
                outbox.put(ANN)
                sent_meanwhile += 1
                await relay.ledger.wait_for(sent_meanwhile, timeout=15)
            moved = await holding
        await until(lambda: outbox.states()["sent"] == sent_meanwhile, what=lambda: "not all sent")
    assert (moved.moved, moved.left_alone) == (count, 0)
    assert sent_meanwhile >= 3
    assert outbox.states() == {"held": count, "sent": sent_meanwhile}
