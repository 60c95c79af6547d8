"""Each recipient keeps its own answer: the mistakes that other queues make here.

The cases are those that were found by reading the source of other outbound queues: replies
flattened over a message, 2xx codes that are not 250, a reply left over from another mail.
"""

from __future__ import annotations

import asyncio

import pytest

from mailqueue import events
from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.plays import ANN, BOB, CEE
from tests.support.daemon import PassingClock, PlainOutbox, leading_to, running

BACKOFF = 300.0
"""The first pause after a deferral, by default."""


async def test_a_refused_recipient_stays_failed_where_the_dot_is_deferred(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """550 to one RCPT and 451 to the dot: the first has failed for good, the others wait."""
    script.on("RCPT", address=BOB).reply("550 5.1.1 no such user")
    script.on(".").times(1).reply("451 4.3.0 disk full")
    outbox.put(ANN, BOB, CEE)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(failed=1, deferred=2)
        await daemon.let_pass(BACKOFF)
        await daemon.until_states(failed=1, sent=2)
    assert relay.ledger.seen["RCPT"] == 3 + 2
    assert outbox.recipient(BOB)["last_code"] == 550
    assert [row["code"] for row in outbox.attempts(ANN)] == [451, 250]


async def test_a_deferred_recipient_stays_deferred_where_the_dot_is_refused(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """450 to one RCPT and 554 to the dot: the others have failed, and this one is tried again."""
    script.on("RCPT", address=BOB).times(1).reply("450 4.2.1 greylisted")
    script.on(".").times(1).reply("554 5.7.1 looks like spam")
    outbox.put(ANN, BOB)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(failed=1, deferred=1)
        assert (outbox.recipient(ANN)["last_code"], outbox.recipient(BOB)["last_code"]) == (
            554,
            450,
        )
        await daemon.let_pass(BACKOFF)
        await daemon.until_states(failed=1, sent=1)
    assert relay.ledger.accepted[0].recipients == (BOB,)


async def test_those_who_were_accepted_are_not_sent_to_again(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """Whoever got 250 is done, though somebody else on the message was deferred."""
    script.on("RCPT", address=BOB).times(1).reply("450 4.2.1 greylisted")
    outbox.put(ANN, BOB, CEE)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(sent=2, deferred=1)
        await daemon.let_pass(BACKOFF)
        await daemon.until_states(sent=3)
    assert [taken.recipients for taken in relay.ledger.accepted] == [(ANN, CEE), (BOB,)]
    assert not relay.ledger.duplicates


@pytest.mark.parametrize("code", [251, 252])
async def test_every_2xx_to_rcpt_is_an_acceptance(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, code: int
) -> None:
    """Where all recipients get 251 or 252 the mail is handed over, and not dropped."""
    script.on("RCPT").reply(f"{code} will try")
    outbox.put(ANN, BOB)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=2)
    assert [taken.recipients for taken in relay.ledger.accepted] == [(ANN, BOB)]
    assert outbox.attempt(ANN)["rcpt_reply"].startswith(str(code))


@pytest.mark.parametrize("reply", ["250 ok", "251 ok", "354"])
async def test_only_a_354_lets_the_content_go_and_only_the_dot_delivers(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, reply: str
) -> None:
    """A 2xx to DATA is no delivery: nothing was sent, so the mail waits."""
    script.on("DATA").reply(reply)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until(lambda: bool(outbox.attempts(ANN)))
    sent = reply == "354"
    assert outbox.state(ANN) == ("sent" if sent else "deferred")
    assert relay.ledger.deliveries(ANN) == sent


async def test_where_all_are_refused_nothing_is_sent_and_each_keeps_its_reply(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """The refusal of DATA is a consequence; no reply is applied to anybody else."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 unknown")
    script.on("RCPT", address=BOB).reply("450 4.2.2 full")
    script.on("RCPT", address=CEE).reply("551 5.7.1 elsewhere")
    outbox.put(ANN, BOB, CEE)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(failed=2, deferred=1)
        outbox.put("dot@example.net")
        await daemon.until_states(failed=2, deferred=1, sent=1)
    assert [outbox.recipient(one)["last_code"] for one in (ANN, BOB, CEE)] == [550, 450, 551]
    assert [outbox.recipient(one)["last_enhanced"] for one in (ANN, BOB, CEE)] == [
        "5.1.1",
        "4.2.2",
        "5.7.1",
    ]
    (session,) = relay.ledger.sessions
    group = ["MAIL", "RCPT", "RCPT", "RCPT", "DATA"]
    assert session.verbs[:8] == ["EHLO", *group, "RSET", "MAIL"]
    assert len(relay.ledger.offered) == 1


@pytest.mark.parametrize("reply", ["451 no", "500 what", "503 not now"])
async def test_a_refused_rset_costs_the_session_and_not_the_next_mail(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, reply: str
) -> None:
    """The mail whose turn it is goes through another session at once, uncharged."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 unknown")
    script.on("RSET").reply(reply)
    keys = leading_to(relay, connections=1)
    outbox.put(ANN)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(failed=1)
        outbox.put(BOB)
        await daemon.until_states(failed=1, sent=1)
    assert outbox.attempt(ANN)["session"] != outbox.attempt(BOB)["session"]
    assert outbox.recipient(BOB)["attempts"] == 1
    assert len(relay.ledger.sessions) == 2


@pytest.mark.parametrize("manner", ["421 unasked", "421 to MAIL", "503 to MAIL", "close"])
async def test_a_session_that_was_ended_while_idle_is_not_charged_to_the_next_mail(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, manner: str
) -> None:
    """A stale session says nothing of the mail that finds it so: it goes at once by another."""
    keys = leading_to(relay, connections=1)
    rule = script.on("MAIL", session=1, transaction=2)
    match manner:
        case "421 unasked":
            rule.early().delay(0.01).reply("421 4.4.2 idle for too long").close()
        case "close":
            rule.close()
        case _:
            rule.reply(f"{manner[:3]} no")
    outbox.put(ANN)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(sent=1)
        if rule.is_early:
            await relay.until(lambda: rule.used == 1 and not relay.sessions)
        outbox.put(BOB)
        await daemon.until_states(sent=2)
    (attempt,) = outbox.attempts(BOB)
    assert attempt["code"] == 250
    assert outbox.relay()["breaker"] == "closed"
    assert len(relay.ledger.sessions) == 2


async def test_a_reply_left_over_from_one_mail_does_not_decide_another(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A second reply to the first mail's dot is not taken for the answer to the next MAIL."""
    release = asyncio.Event()
    script.on("QUIT", session=1).wait_for(release)
    script.on(".", session=1, transaction=1).then(extra=b"550 5.7.1 not you\r\n")
    keys = leading_to(relay, connections=1)
    outbox.put(ANN)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(deferred=1)
        outbox.put(BOB)
        await daemon.until_states(deferred=1, sent=1)
        release.set()
    assert outbox.attempt(ANN)["verdict"] == "in-doubt"
    assert outbox.attempt(BOB)["code"] == 250


@pytest.mark.parametrize("on_doubt", OnDoubt)
async def test_a_reset_after_the_dot_is_recorded_as_doubt_before_anything_else(
    outbox: PlainOutbox,
    clock: PassingClock,
    script: Script,
    relay: ScriptedRelay,
    on_doubt: OnDoubt,
) -> None:
    """It is not sent again at once: `retry` waits its backoff, `hold` waits for a person."""
    script.on(".").times(1).accept().reset()
    outbox.put(ANN, on_doubt=on_doubt)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        (answered,) = await daemon.until_told(events.RecipientAnswered)
        assert (answered.decision.verdict.outcome, len(relay.ledger)) == ("in-doubt", 1)
        waits = "deferred" if on_doubt is OnDoubt.RETRY else "held"
        assert (outbox.state(ANN), outbox.recipient(ANN)["doubts"]) == (waits, 1)
        await daemon.let_pass(BACKOFF)
        outbox.put(BOB, now=clock.now())
        await daemon.until(lambda: outbox.state(BOB) == "sent")
        if on_doubt is OnDoubt.RETRY:
            await daemon.until_states(sent=2)
    assert relay.ledger.deliveries(ANN) == (2 if on_doubt is OnDoubt.RETRY else 1)
