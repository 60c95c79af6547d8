"""A relay that is paused: its fallback, its probes, its return, and what SQL says of it."""

from __future__ import annotations

import asyncio

from mailqueue import events
from mailqueue.testing import Cue, Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.acceptance.plays import ANN, BOB, CEE
from tests.support.daemon import PassingClock, PlainOutbox, leading_to, running

PAUSE = 30.0
"""The first pause of a breaker, by default."""


async def test_a_fallback_stands_in_while_the_relay_is_paused_and_no_longer(
    outbox: PlainOutbox,
    clock: PassingClock,
    script: Script,
    relay: ScriptedRelay,
    start_relay: StartRelay,
) -> None:
    """Mail goes through the fallback meanwhile; after a good probe it takes its own way again."""
    other = await start_relay(ScriptedRelay())
    script.on("CONNECT").reply("421 4.3.2 closed for repairs")
    relays = {"main": leading_to(relay, fallback=["spare"]), "spare": leading_to(other)}
    outbox.put(ANN)
    async with running(outbox, relays, clock=clock, daemon={"default_relay": "main"}) as daemon:
        await daemon.until_states(sent=1)
        row = outbox.relay("main")
        assert (row["breaker"], row["stage"], row["code"]) == ("open", "greeting", 421)
        assert row["text"] == "closed for repairs"
        assert outbox.relay("spare")["breaker"] == "closed"
        assert outbox.attempt(ANN)["relay"] == "spare"
        script.clear()
        await daemon.let_pass(PAUSE)
        await daemon.rounds()
        outbox.put(BOB, now=clock.now())
        await daemon.until_states(sent=2)
        assert outbox.attempt(BOB)["relay"] == "main"
        assert outbox.relay("main")["breaker"] == "closed"
        assert not outbox.query("SELECT 1 FROM mailqueue_recipients WHERE attempts != 1")


async def test_mail_stays_with_its_own_relay_while_that_is_well(
    outbox: PlainOutbox, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """Mail goes to the relay that it names, or to the default; a fallback gets none of it."""
    other = await start_relay(ScriptedRelay())
    relays = {"main": leading_to(relay, fallback=["bulk"]), "bulk": leading_to(other)}
    outbox.put(ANN, relay="main")
    outbox.put(BOB, relay="bulk")
    outbox.put(CEE)
    async with running(outbox, relays, daemon={"default_relay": "bulk"}) as daemon:
        await daemon.until_states(sent=3)
    assert [taken.recipients for taken in relay.ledger.accepted] == [(ANN,)]
    assert (other.ledger.deliveries(BOB), other.ledger.deliveries(CEE)) == (1, 1)


async def test_one_message_alone_probes_a_paused_relay(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """While the probe is under way no other connection is made, however much mail waits."""
    script.on("CONNECT").times(1).reply("421 4.3.2 busy")
    go_on = asyncio.Event()
    script.on("CONNECT").wait_for(go_on)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(20)])
        await daemon.rounds(3)
        assert relay.ledger.seen["CONNECT"] == 1
        await daemon.let_pass(PAUSE)
        await relay.saw("CONNECT", 2)
        await daemon.rounds(5)
        assert relay.ledger.seen["CONNECT"] == 2
        assert outbox.states() == {"sending": 1, "queued": 20}
        go_on.set()
        await daemon.until_states(sent=21)


async def test_a_probe_that_tells_nothing_is_followed_by_another_at_once(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """A damaged mail cannot probe; nobody waits for replies that are still out since before."""
    go_on = asyncio.Event()
    script.on(".", session=1).wait_for(go_on)
    script.on("CONNECT", session=2).reply("421 4.3.2 busy")
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await relay.saw(".")
        outbox.put(BOB)
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(sending=1, queued=1)
        damaged = outbox.put("damaged@example.net", now=clock.now() - 60_000_000)
        outbox.execute("DELETE FROM mailqueue_contents WHERE message_id = ?", damaged)
        await daemon.let_pass(PAUSE)
        await daemon.until_states(sending=1, deferred=1, sent=1)
        go_on.set()
        await daemon.until_states(sent=2, deferred=1)


async def test_a_failed_probe_doubles_the_pause(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """30, 60, 120 seconds, and at most the maximum; each is on record with its next probe."""
    script.on("CONNECT").reply("554 5.7.1 not you")
    outbox.put(ANN)
    pauses = []
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        for count in range(1, 8):
            paused = (await daemon.until_told(events.RelayPaused, count))[-1]
            await daemon.until(lambda count=count: outbox.relay()["troubles"] == count)  # type: ignore[misc]
            pauses.append(paused.pause)
            await daemon.until_states(queued=1)
            await daemon.let_pass(paused.pause)
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert relay.ledger.seen["CONNECT"] <= 8


async def test_the_backlog_comes_back_step_by_step(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """After a pause one mail goes, and then the more the more were taken: never all at once."""
    at_once: list[int] = []

    def counts(_: Cue) -> bool:
        at_once.append(len(relay.sessions))
        return True

    script.on("CONNECT").times(1).reply("421 4.3.2 busy")
    script.on(".").when(counts).delay(0.03)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay, connections=10)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(59)])
        await daemon.let_pass(PAUSE)
        await daemon.until_states(sent=60)
    assert at_once[0] == 1
    assert all(sessions <= 1 + 2 * before for before, sessions in enumerate(at_once))
    assert max(at_once) > 5


async def test_the_next_daemon_knows_that_the_relay_is_paused_and_why(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A restart forgets neither the pause nor its reason, and probes once at once."""
    script.on("CONNECT").reply("554 5.7.1 not you")
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=1)
    before = dict(outbox.relay())
    outbox.execute("UPDATE mailqueue_recipients SET state = 'held', due_at = NULL")
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.rounds()
        assert dict(outbox.relay()) | {"probe_at": None} == before | {"probe_at": None}
        outbox.put(BOB)
        await daemon.until_told(events.RelayPaused)
        await daemon.until(lambda: outbox.relay()["troubles"] == 2)
        script.clear()


async def test_sessions_that_break_one_after_the_other_pause_the_relay(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Each is charged to its own mail; after five in a row the rest of the mail is spared."""
    script.on("RCPT").close()
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(20)])
    keys = leading_to(relay, connections=1)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until_told(events.RelayPaused)
        await daemon.until_states(deferred=5, queued=15)
    assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 5


async def test_mail_for_a_relay_that_is_not_configured_waits_and_is_reported(
    outbox: PlainOutbox, clock: PassingClock, relay: ScriptedRelay
) -> None:
    """It keeps nobody else from being sent, and the log says what is missing."""
    outbox.put(ANN, relay="bulk")
    outbox.put(BOB)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(queued=1, sent=1)
        await daemon.let_pass(60)
        (told,) = await daemon.until_told(events.RelayUnknown)
        assert told.relay == "bulk"
    assert outbox.state(ANN) == "queued"
