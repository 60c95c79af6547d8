"""When mail is tried: backoff, deadline, send_at and priority, on a clock that is put on."""

from __future__ import annotations

import pytest

from mailqueue import events
from mailqueue.clock import microseconds
from mailqueue.mail.priority import Priority
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.plays import ANN, BOB
from tests.support.daemon import Daemon, PassingClock, PlainOutbox, leading_to, running

DAY = 86_400.0


def _offsets(outbox: PlainOutbox, address: str) -> list[int]:
    """Return how many seconds after its enqueueing each attempt began."""
    enqueued_at = outbox.recipient(address)["lifetime_from"]
    return [round((row["started_at"] - enqueued_at) / 1e6) for row in outbox.attempts(address)]


async def _pass_until_attempts(daemon: Daemon, count: int, step: float) -> None:
    """Let time pass in steps until there are so many attempts."""
    while len(daemon.outbox.attempts()) < count:
        await daemon.let_pass(step)
        await daemon.rounds()
        await daemon.until(lambda: not daemon.outbox.states()["sending"])


async def test_a_4xx_is_tried_again_after_growing_pauses(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """The pauses double, each attempt is charged and on record, and a 250 ends it."""
    script.on("RCPT").times(3).reply("451 4.7.1 greylisted")
    outbox.put(ANN, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(deferred=1)
        await _pass_until_attempts(daemon, 4, 60)
        await daemon.until_states(sent=1)
    assert _offsets(outbox, ANN) == [
        pytest.approx(expected, abs=15) for expected in (0, 300, 900, 2100)
    ]
    assert [row["number"] for row in outbox.attempts(ANN)] == [1, 2, 3, 4]
    assert [row["code"] for row in outbox.attempts(ANN)] == [451, 451, 451, 250]


async def test_nothing_is_tried_before_its_time(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """A deferred recipient is not sent to a moment before it is due, however often one looks."""
    script.on("RCPT").times(1).reply("451 4.7.1 greylisted")
    outbox.put(ANN, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(deferred=1)
        await daemon.let_pass(280)
        await daemon.rounds(3)
        assert len(outbox.attempts()) == 1
        await daemon.let_pass(20)
        await daemon.until_states(sent=1)


async def test_the_last_attempt_is_made_shortly_before_the_deadline(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """Where the next pause would miss the deadline what remains is used; then it is over."""
    script.on("RCPT").reply("450 4.2.2 full")
    now = clock.now()
    outbox.put(ANN, now=now, expires_at=now + microseconds(1000))
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(deferred=1)
        await _pass_until_attempts(daemon, 4, 20)
        await daemon.until_states(expired=1)
    assert _offsets(outbox, ANN) == [
        pytest.approx(expected, abs=15) for expected in (0, 300, 900, 945)
    ]
    assert outbox.recipient(ANN)["last_code"] == 450


async def test_an_expired_recipient_keeps_the_last_real_reply(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """Silence and expiry tell nobody why it was not sent; the 4xx before them does."""
    script.on("RCPT").times(1).reply("450 4.2.2 mailbox full")
    script.on("RCPT").close()
    outbox.put(ANN, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(deferred=1)
        await _pass_until_attempts(daemon, 2, 300)
        assert outbox.attempts(ANN)[-1]["code"] is None
        await daemon.let_pass(6 * DAY)
        await daemon.until_states(expired=1)
        (told,) = await daemon.until_told(events.RecipientExpired)
    row = outbox.recipient(ANN)
    assert (row["last_code"], row["last_enhanced"], row["last_text"]) == (
        450,
        "4.2.2",
        "mailbox full",
    )
    assert told.recipient == ANN


async def test_mail_behind_a_relay_that_stays_down_expires_too(
    outbox: PlainOutbox, clock: PassingClock, relay: ScriptedRelay
) -> None:
    """Trouble with the relay charges nothing, but it does not keep a mail for ever."""
    await relay.stop()
    now = clock.now()
    outbox.put(ANN, now=now, expires_at=now + microseconds(600))
    outbox.put(BOB, now=now)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=2)
        await daemon.let_pass(601)
        await daemon.until_states(expired=1, queued=1)
        await daemon.let_pass(5 * DAY)
        await daemon.until_states(expired=2)
    assert outbox.attempts() == []


async def test_mail_with_send_at_waits_for_its_time(
    outbox: PlainOutbox, clock: PassingClock, relay: ScriptedRelay
) -> None:
    """It is not sent before, and its lifetime begins then and not when it was enqueued."""
    now = clock.now()
    later = now + microseconds(10 * DAY)
    outbox.put(ANN, now=now, send_at=later)
    outbox.put(BOB, now=now)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(sent=1, queued=1)
        await daemon.let_pass(10 * DAY - 60)
        await daemon.rounds()
        assert outbox.state(ANN) == "queued"
        await daemon.let_pass(60)
        await daemon.until_states(sent=2)


async def test_urgent_mail_goes_first(outbox: PlainOutbox, relay: ScriptedRelay) -> None:
    """Among what is due, high priority goes before normal and normal before low."""
    wanted = [Priority.LOW, Priority.NORMAL, Priority.HIGH] * 3
    outbox.put_all(
        [
            outbox.draft(f"{priority.name.lower()}{number}@example.net", priority=priority)
            for number, priority in enumerate(wanted)
        ]
    )
    async with running(outbox, {"main": leading_to(relay, connections=1)}) as daemon:
        await daemon.until_states(sent=9)
    order = [taken.recipients[0].partition("@")[0][:-1] for taken in relay.ledger.accepted]
    assert order == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3
