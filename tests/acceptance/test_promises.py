"""The promises of DESIGN.md section 2 that stand in no other file here.

A 5xx is final and a 4xx is not: `test_verdicts.py`, `test_schedule.py`. Trouble that is not the
message's: `test_relay_trouble.py`, `test_wrong_password.py`. Leases: `test_stalled_worker.py`.
Bad messages: `test_bad_rows.py`. Stops and kills: `test_stopping.py`, `test_killing.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import create_engine

import mailqueue
from mailqueue import events
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event
from mailqueue.outbox.acts import act, of_messages
from mailqueue.outbox.engine import write_engine
from mailqueue.testing import FAULTS, Cue, Script, ScriptedRelay
from tests.acceptance.invariants import assert_doubts_cover_duplicates
from tests.acceptance.plays import ANN, BOB
from tests.support.daemon import ROOT, PassingClock, PlainOutbox, leading_to, running

_KILLED_PRODUCER = """
import os, signal, sys
from mailqueue import Outbox

Outbox(sys.argv[1]).enqueue(
    b"From: a@example.org\\nSubject: x\\n\\nhello\\n", recipients=[sys.argv[2]]
)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
async def test_a_mail_survives_the_producer_that_enqueued_it(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """When `enqueue` has returned the mail is stored, whatever becomes of the process then."""
    producer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _KILLED_PRODUCER, outbox.url, ANN),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert await producer.wait() < 0
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=1)


async def test_mail_of_a_transaction_that_rolls_back_is_never_sent(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """Mail shares the fate of the application's own rows: one commits with it, one is gone."""
    engine = create_engine(outbox.url)
    mailqueue.configure_sqlite(engine)
    producer = mailqueue.Outbox(outbox.url)
    content = b"From: a@example.org\nSubject: x\n\nhello\n"
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        with engine.connect() as connection, connection.begin() as transaction:
            producer.enqueue(content, recipients=[ANN], connection=connection)
            transaction.rollback()
        with engine.begin() as connection:
            producer.enqueue(content, recipients=[BOB], connection=connection)
        await daemon.until_states(sent=1)
        await daemon.rounds()
    engine.dispose()
    producer.close()
    assert [taken.recipients for taken in relay.ledger.accepted] == [(BOB,)]


@pytest.mark.parametrize(("reply", "state"), [("250 ok", "sent"), ("550 5.1.1 no", "failed")])
async def test_what_is_final_stays_so_until_a_person_decides(
    outbox: PlainOutbox,
    clock: PassingClock,
    script: Script,
    relay: ScriptedRelay,
    reply: str,
    state: str,
) -> None:
    """No daemon looks at it again, however much time passes; a named retry starts it anew."""
    rule = script.on("RCPT").reply(reply)
    number = outbox.put(ANN, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.state(ANN) == state)
        await daemon.let_pass(4 * 86_400)
        await daemon.rounds()
        assert (outbox.state(ANN), relay.ledger.seen["RCPT"]) == (state, 1)
        script.remove(rule)
        engine = write_engine(outbox.url)
        with engine.begin() as connection:
            (done,) = act(
                connection, of_messages([number]), Event.RETRY, actor="olga", now=clock.now()
            )
        engine.dispose()
        if state == "failed":
            await daemon.until_states(sent=1)
            # A retry is a new life: its attempts are counted anew, and the old ones kept.
            assert [row["code"] for row in outbox.attempts(ANN)] == [550, 250]
            assert outbox.recipient(ANN)["attempts"] == 1
        else:
            assert done.refused
    assert outbox.value("SELECT count(*) FROM mailqueue_actions") == (state == "failed")


_PLAYABLE = [fault for fault in FAULTS if fault.name not in ("slow-drip", "endless")]


def _is_to(address: str) -> Callable[[Cue], bool]:
    def predicate(cue: Cue) -> bool:
        return address in (cue.address, *cue.recipients)

    return predicate


async def test_whatever_relays_do_nothing_is_lost_and_no_duplicate_is_unrecorded(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """Each fault there is, once, at each step of a mail: every mail ends in a final state.

    Nobody gets a mail once more than there are doubts of it on record, and the outbox says
    `sent` of none that the relay has not taken.
    """
    for fault in _PLAYABLE:
        for verb in ("MAIL", "RCPT", "DATA", "."):
            if fault.is_early or not fault.suits(verb):
                continue
            address = f"{fault.name}-{'dot' if verb == '.' else verb.lower()}@example.net"
            outbox.put(address, sender=address, now=clock.now())
            rule = script.on(verb).when(_is_to(address)).times(1)
            fault.inflict(rule)
    quick = {"mail": 0.3, "rcpt": 0.3, "data": 0.3, "end_of_data": 0.3, "rset": 0.3}
    keys = leading_to(relay, timeouts=quick, breaker={"session_troubles": 1000})
    total = outbox.value("SELECT count(*) FROM mailqueue_recipients")
    async with running(outbox, {"main": keys}, clock=clock) as daemon:
        # Where the relay is paused each of these is one probe, and most of them fail too.
        for _ in range(300):
            await daemon.until(lambda: not outbox.states()["sending"])
            if outbox.states()["sent"] + outbox.states()["failed"] == total:
                break
            await daemon.let_pass(600)
            await daemon.rounds(3)
    assert outbox.states()["sent"] + outbox.states()["failed"] == total
    assert_doubts_cover_duplicates(outbox, relay)
    for row in outbox.query("SELECT address FROM mailqueue_recipients WHERE state = 'sent'"):
        assert relay.ledger.deliveries(row["address"]), row["address"]


@pytest.mark.parametrize(
    ("reply", "stored"),
    [
        (b"550 5.1.1 caf\xe9 \xff\x00\x1b[31mred\x1b[0m", "caf? ???[31mred?[0m"),
        (b"550 5.1.1 " + b"x" * 5000, "x" * 1021 + "..."),
        ("550 5.1.1 \u202egnol\u2028x".encode(), "?gnol?x"),
        (b"550 5.1.1 '; DROP TABLE mailqueue_messages; --", "'; DROP TABLE mailqueue_messages; --"),
    ],
    ids=["octets and escapes", "length", "bidi and separators", "SQL"],
)
async def test_what_a_relay_says_stays_data(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, reply: bytes, stored: str
) -> None:
    """Replies are stored printable, as UTF-8 and of bounded length, and decide by their code."""
    script.on("RCPT").reply(reply)
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        (answered,) = await daemon.until_told(events.RecipientAnswered)
    assert outbox.recipient(ANN)["last_text"] == stored
    assert outbox.recipient(ANN)["last_enhanced"] == "5.1.1"
    assert str(answered.decision.finding.evidence.answer).isprintable()


async def test_doubt_that_is_held_never_makes_a_duplicate(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """At most once means so: a person releases it, or nobody."""
    script.on(".").times(1).accept().close()
    outbox.put(ANN, on_doubt=OnDoubt.HOLD, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until_states(held=1)
        await daemon.let_pass(86_400)
        await daemon.rounds()
    assert relay.ledger.deliveries(ANN) == 1
    assert outbox.state(ANN) == "held"
    assert [row["recipient"] for row in outbox.query("SELECT * FROM mailqueue_in_doubt")] == [ANN]
