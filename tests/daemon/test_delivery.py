"""One leased message from claim to record, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mailqueue.daemon.delivery import Delivery
from mailqueue.daemon.ration import Ration
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.rate import Rate
from mailqueue.mail.reply import Reply, take_reply
from mailqueue.mail.rule import Rule
from mailqueue.mail.stage import Stage
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.rates import Batch
from mailqueue.outbox.record import Result
from mailqueue.smtp import pipeline
from mailqueue.testing import Script, ScriptedRelay
from tests.daemon.desk import Desk
from tests.daemon.parts import PATIENCE, message_for, turns, until

ANN, BOB, CEE = "ann@example.net", "bob@example.net", "cee@example.net"

TOO_MANY = "452 4.5.3 too many recipients"


async def cancelled(sending: asyncio.Task[None]) -> None:
    """Wait for a task that must end by cancellation."""
    await asyncio.wait([sending], timeout=PATIENCE)
    assert sending.cancelled()


async def test_every_recipient_is_settled_by_its_own_reply(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """Who was refused is not sent to, and who was accepted is not held up by the others."""
    script.on("RCPT", address=BOB).reply("550 5.1.1 no such user")
    script.on("RCPT", address=CEE).reply("450 4.2.1 try later")
    await desk.deliver(ANN, BOB, CEE)
    assert desk.events() == {ANN: Event.SEND, BOB: Event.FAIL, CEE: Event.DEFER}
    assert relay.ledger.deliveries(ANN) == 1
    facts = {(one.trial.session, one.trial.peer, one.trial.tls) for one in desk.settled}
    assert len(facts) == 1
    assert facts.pop()[1] == f"{relay.host}:{relay.port}"


async def test_a_session_goes_back_before_the_results_are_settled(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """It carries the next mail while the result of this one is being written."""
    desk.opened.clear()
    sending = asyncio.create_task(desk.deliver(ANN))
    await asyncio.wait_for(desk.settling.wait(), PATIENCE)
    assert desk.pool.idle == 1
    other = asyncio.create_task(desk.deliver(BOB))
    await relay.ledger.wait_for(2)
    desk.opened.set()
    await asyncio.gather(sending, other)
    assert len(relay.ledger.sessions) == 1


async def test_many_recipients_take_as_many_transactions_as_they_need(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """All are sent to, each once, over the same session."""
    names = [f"r{number}@example.net" for number in range(5)]
    await desk.deliver(*names, most=2)
    assert set(desk.events().values()) == {Event.SEND}
    assert [len(one.recipients) for one in await relay.ledger.wait_for(3)] == [2, 2, 1]
    assert len(relay.ledger.sessions) == 1


async def test_too_many_recipients_go_into_the_next_transaction_at_once(
    desk: Desk, script: Script
) -> None:
    """They were refused for the company they came in, which costs them nothing."""
    script.on("RCPT", address=CEE, transaction=1).reply(TOO_MANY)
    await desk.deliver(ANN, BOB, CEE)
    assert desk.events() == {ANN: Event.SEND, BOB: Event.SEND, CEE: Event.SEND}


async def test_a_stale_session_says_nothing_of_the_message(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """Where the relay ended it meanwhile, another is opened at once."""
    await desk.deliver(ANN)
    script.on("MAIL", session=1).reply("421 4.4.2 idle for too long").close()
    await desk.deliver(BOB)
    assert desk.events() == {ANN: Event.SEND, BOB: Event.SEND}
    assert len(relay.ledger.sessions) == 2


async def test_a_session_that_is_lost_while_it_waits_for_the_rate_costs_nothing(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """Nothing was asked on it: it lay idle as one does between two messages."""
    ration = Ration(Rate(10, 1.0, 1), desk.clock, asked=lambda: None, freed=lambda: None)
    delivery = desk.delivery(message_for(ANN))
    delivery.terms = replace(delivery.terms, ration=ration)
    sending = asyncio.create_task(delivery.run())
    await turns()
    ration.put(Batch(0.01, 0.1, 1), now=desk.clock.monotonic())
    await until(lambda: desk.pool._lent)
    (session,) = desk.pool._lent
    await relay.drop_sessions()
    await until(lambda: not session.is_connected)
    desk.clock.advance(0.01)
    await asyncio.wait_for(sending, PATIENCE)
    assert desk.events() == {ANN: Event.SEND}
    assert len(relay.ledger.sessions) == 2


async def test_a_session_that_waits_for_nothing_has_not_lain_idle(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """A relay that is overloaded at the first command is believed, and not asked once more."""
    script.on("MAIL").reply("421 4.3.2 too busy")
    ration = Ration(Rate(10, 1.0, 1), desk.clock, asked=lambda: None, freed=lambda: None)
    ration.put(Batch(0.0, 0.1, 1), now=desk.clock.monotonic())
    delivery = desk.delivery(message_for(ANN))
    delivery.terms = replace(delivery.terms, ration=ration)
    await asyncio.wait_for(delivery.run(), PATIENCE)
    assert desk.events() == {ANN: Event.DEFER}
    assert len(relay.ledger.sessions) == 1


async def test_an_exception_before_the_dot_is_a_local_fault(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """The mail waits uncharged, the queue goes on, and who was answered keeps the answer."""

    def fail(_: Sequence[Lease]) -> bool:
        raise ZeroDivisionError

    desk.may_write_dot = fail
    await desk.deliver(ANN, BOB)
    assert set(desk.events().values()) == {Event.DEFER}
    for result in desk.settled:
        assert result.decision.verdict.rule is Rule.LOCAL_FAULT
        assert not result.decision.verdict.charged
        assert result.decision.finding.evidence.stage is Stage.DATA
    assert "ZeroDivisionError" in str(desk.settled[0].decision.finding.evidence.answer)
    assert relay.ledger.deliveries(ANN) == 0
    assert desk.pool.idle == 0


async def test_who_was_answered_before_an_exception_keeps_that_answer(
    desk: Desk, script: Script
) -> None:
    """A fault on this side is no excuse to ask somebody again who was refused for good."""

    def fail(_: Sequence[Lease]) -> bool:
        raise ZeroDivisionError

    desk.may_write_dot = fail
    script.on("RCPT", address=BOB).reply("550 5.1.1 no such user")
    await desk.deliver(ANN, BOB)
    assert desk.rules() == {ANN: Rule.LOCAL_FAULT, BOB: Rule.RECIPIENT_REFUSED}


async def test_an_exception_after_the_dot_is_in_doubt(
    desk: Desk, script: Script, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay may have taken it: a bug of ours does not make that certain either way."""

    def stumble(raw: bytes, start: int = 0) -> tuple[Reply, int] | None:
        if b"stumble" in raw:
            raise ZeroDivisionError
        return take_reply(raw, start)

    script.on(".").reply("250 2.0.0 stumble over this").close()
    monkeypatch.setattr(pipeline, "take_reply", stumble)
    with pytest.MonkeyPatch.context() as loop:
        loop.setattr(
            asyncio.get_running_loop(), "call_exception_handler", lambda _: None, raising=False
        )
        await desk.deliver(ANN)
    assert desk.rules() == {ANN: Rule.SILENCE_AFTER_DOT}
    assert relay.ledger.deliveries(ANN) == 1


async def test_no_dot_is_written_when_the_lease_is_not_ours(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """Somebody else may be sending it now; it goes back uncharged."""
    desk.may_write_dot = lambda _: False
    await desk.deliver(ANN)
    assert desk.rules() == {ANN: Rule.ABANDONED}
    assert desk.events() == {ANN: Event.HAND_BACK}
    assert relay.ledger.deliveries(ANN) == 0


async def test_the_leases_asked_for_are_those_accepted(desk: Desk, script: Script) -> None:
    """Who was refused at RCPT gets nothing by this dot, so his lease does not matter."""
    asked: list[str] = []

    def note(leases: Sequence[Lease]) -> bool:
        asked.extend(lease.address for lease in leases)
        return True

    desk.may_write_dot = note
    script.on("RCPT", address=BOB).reply("550 5.1.1 no such user")
    await desk.deliver(ANN, BOB, CEE)
    assert asked == [ANN, CEE]


async def test_a_relay_that_is_down_charges_nobody(desk: Desk, relay: ScriptedRelay) -> None:
    """All recipients go back, those that were not reached among them."""
    await relay.stop()
    await desk.deliver(ANN, BOB, CEE, most=2)
    assert set(desk.events().values()) == {Event.HAND_BACK}
    assert len(desk.settled) == 3


async def test_nothing_begins_where_the_relay_was_paused_meanwhile(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """What was claimed ahead is handed back, and the relay sees no connection."""
    desk.may_begin = False
    await desk.deliver(ANN, BOB, CEE, most=2)
    assert desk.events() == dict.fromkeys((ANN, BOB, CEE), Event.HAND_BACK)
    assert len(relay.ledger.sessions) == 0


async def test_cancelled_before_its_first_step_it_hands_back(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """A task that never ran would leave its leases to run out, which looks like doubt."""
    delivery = desk.delivery(message_for(ANN, BOB))
    sending = asyncio.create_task(delivery.run())
    delivery.end(sending)
    await asyncio.wait_for(sending, PATIENCE)
    assert desk.events() == {ANN: Event.HAND_BACK, BOB: Event.HAND_BACK}
    assert len(relay.ledger.sessions) == 0


async def test_ended_while_it_waits_for_its_turn_it_hands_back(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """What was claimed ahead and not begun goes back uncharged, and no session is lost."""
    script.on("CONNECT").silence()
    ahead = desk.delivery(message_for(BOB))
    first = asyncio.create_task(ahead.run())
    await relay.saw("CONNECT")
    delivery = desk.delivery(message_for(ANN))
    sending = asyncio.create_task(delivery.run())
    await turns()
    assert desk.pool.waiting == 1
    delivery.end(sending)
    await cancelled(sending)
    assert desk.events() == {ANN: Event.HAND_BACK}
    assert desk.pool.waiting == 0
    ahead.end(first)
    await cancelled(first)
    script.clear()
    await desk.deliver(CEE)
    assert desk.events()[CEE] is Event.SEND


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_ended_before_its_dot_it_hands_everybody_back(
    desk: Desk, script: Script, relay: ScriptedRelay, verb: str
) -> None:
    """Wherever the relay keeps us waiting, nothing was accepted and nothing is charged."""
    script.on(verb).silence()
    delivery = desk.delivery(message_for(ANN, BOB, CEE), most=2)
    sending = asyncio.create_task(delivery.run())
    await relay.saw(verb)
    assert not delivery.is_past_dot
    delivery.end(sending)
    await cancelled(sending)
    assert desk.events() == dict.fromkeys((ANN, BOB, CEE), Event.HAND_BACK)
    await relay.wait_sessions_closed()


async def test_ended_before_its_dot_it_keeps_the_answers_that_were_given(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """A refusal that was heard is recorded even though we stop."""
    script.on("RCPT", address=BOB).reply("550 5.1.1 no such user")
    script.on("DATA").silence()
    delivery = desk.delivery(message_for(ANN, BOB))
    sending = asyncio.create_task(delivery.run())
    await relay.saw("DATA")
    delivery.end(sending)
    await cancelled(sending)
    assert desk.events() == {ANN: Event.HAND_BACK, BOB: Event.FAIL}


async def test_ended_before_its_dot_it_hands_back_who_was_meant_for_the_next_transaction(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """Who was put off by "too many recipients" was never sent to: his lease must not run out."""
    script.on("RCPT", address=CEE).reply(TOO_MANY)
    script.on("DATA").silence()
    delivery = desk.delivery(message_for(ANN, BOB, CEE))
    sending = asyncio.create_task(delivery.run())
    await relay.saw("DATA")
    delivery.end(sending)
    await cancelled(sending)
    assert desk.events() == dict.fromkeys((ANN, BOB, CEE), Event.HAND_BACK)


async def test_an_exception_hands_back_who_was_meant_for_the_next_transaction(
    desk: Desk, script: Script
) -> None:
    """A fault on this side leaves nobody to a lease that runs out."""

    def fail(_: Sequence[Lease]) -> bool:
        raise ZeroDivisionError

    desk.may_write_dot = fail
    script.on("RCPT", address=CEE).reply(TOO_MANY)
    await desk.deliver(ANN, BOB, CEE)
    assert desk.events() == {ANN: Event.DEFER, BOB: Event.DEFER, CEE: Event.HAND_BACK}


async def test_cancelled_while_settling_it_hands_back_who_was_meant_for_the_next_transaction(
    desk: Desk, script: Script
) -> None:
    """The end of the drain leaves nobody to a lease that runs out either."""
    script.on("RCPT", address=CEE).reply(TOO_MANY)
    desk.opened.clear()
    sending = asyncio.create_task(desk.delivery(message_for(ANN, BOB, CEE)).run())
    await asyncio.wait_for(desk.settling.wait(), PATIENCE)
    sending.cancel()
    await turns()
    desk.opened.set()
    await cancelled(sending)
    assert desk.events() == {ANN: Event.SEND, BOB: Event.SEND, CEE: Event.HAND_BACK}


async def test_asked_to_end_after_its_dot_it_waits_for_the_reply(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """Cutting it short would make doubt out of a mail that is accepted a moment later."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    delivery = desk.delivery(message_for(ANN, BOB), most=1)
    sending = asyncio.create_task(delivery.run())
    await relay.saw(".")
    assert delivery.is_past_dot
    delivery.end(sending)
    await turns()
    go_on.set()
    await asyncio.wait_for(sending, PATIENCE)
    assert desk.events() == {ANN: Event.SEND, BOB: Event.HAND_BACK}


async def test_cancelled_after_its_dot_it_is_in_doubt(
    desk: Desk, script: Script, relay: ScriptedRelay
) -> None:
    """Where the drain is over, the doubt is put on record, and the rest goes back."""
    script.on(".").accept().silence()
    delivery = desk.delivery(message_for(ANN, BOB), most=1)
    sending = asyncio.create_task(delivery.run())
    await relay.saw(".")
    sending.cancel()
    await cancelled(sending)
    assert desk.rules() == {ANN: Rule.SILENCE_AFTER_DOT, BOB: Rule.ABANDONED}
    await relay.wait_sessions_closed()


async def test_whoever_carries_it_is_free_before_its_results_are_written(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """The next mail need not wait for the commit; this one has ended only after it."""
    desk.opened.clear()
    await desk.deliver(ANN)
    await asyncio.wait_for(desk.settling.wait(), PATIENCE)
    assert desk.events() == {ANN: Event.SEND}
    assert not desk.ended
    desk.opened.set()
    await turns()
    assert desk.ended == [1]


async def test_no_other_transaction_begins_before_the_results_of_one_are_written(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """One message never has the answers of two transactions at risk, and it ends once."""
    desk.opened.clear()
    delivery = desk.delivery(message_for(ANN, BOB), most=1)
    sending = asyncio.create_task(delivery.run())
    await asyncio.wait_for(desk.settling.wait(), PATIENCE)
    await turns()
    assert delivery.is_past_dot
    assert not sending.done()
    assert desk.events() == {ANN: Event.SEND}
    desk.opened.set()
    await asyncio.wait_for(sending, PATIENCE)
    await turns()
    assert desk.events() == {ANN: Event.SEND, BOB: Event.SEND}
    assert desk.ended == [1]


async def test_turned_away_it_hands_everybody_back(desk: Desk, relay: ScriptedRelay) -> None:
    """What waits for a relay that is paused costs nobody anything, and the relay sees nothing."""
    desk.delivery(message_for(ANN, BOB)).turn_away("the relay was paused")
    assert desk.events() == {ANN: Event.HAND_BACK, BOB: Event.HAND_BACK}
    await turns()
    assert desk.ended == [1]
    assert len(relay.ledger.sessions) == 0


async def test_results_that_could_not_be_written_take_no_session_with_them(
    desk: Desk, relay: ScriptedRelay
) -> None:
    """Whatever becomes of the results, the session is back already, and in order."""

    def fail(_: Delivery, __: Sequence[Result]) -> None:
        raise ZeroDivisionError

    delivery = desk.delivery(message_for(ANN))
    delivery.settle = fail
    with pytest.raises(ZeroDivisionError):
        await delivery.run()
    assert desk.pool.idle == 1
    await desk.deliver(BOB)
    assert len(relay.ledger.sessions) == 1


async def test_hostile_content_is_a_fault_of_one_message(desk: Desk, relay: ScriptedRelay) -> None:
    """A row that no client of ours would have written fails or waits, and the next one is sent."""
    await desk.deliver("x@example.net>\r\nRCPT TO:<victim@example.net")
    await desk.deliver(ANN)
    assert desk.events()[ANN] is Event.SEND
    assert relay.ledger.deliveries("victim@example.net") == 0
