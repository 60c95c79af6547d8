"""Every fault at every stage: what must hold whatever a relay does."""

from __future__ import annotations

import pytest

from mailqueue.mail.reply import Evidence
from mailqueue.mail.verdict import Outcome, judge
from mailqueue.smtp import Transacted
from mailqueue.testing import FAULTS, Fault, Script, ScriptedRelay
from tests.smtp.parts import (
    CONTENT,
    ENVELOPE,
    Keys,
    dot_written,
    outcomes,
    session_with,
    transact,
    try_to_open,
    verdicts,
)

pytestmark = pytest.mark.usefixtures("way")

SHORT = 0.4
BEFORE_MAIL = {"CONNECT": "greeting", "EHLO": "ehlo", "TLS": "starttls"}
SECURED = {"STARTTLS": "starttls", "AUTH": "auth"}
IN_TRANSACTION = {
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "BODY": "block",
    ".": "end_of_data",
}
USERS: dict[str, Keys] = {"username": "user", "password": "secret"}


def at(verbs: dict[str, str]) -> list[object]:
    """Return each verb with each fault that can be shown there."""
    return [
        pytest.param(verb, fault, id=f"{verb}-{fault}")
        for verb in verbs
        for fault in FAULTS
        if fault.suits(verb)
    ]


@pytest.mark.parametrize(("verb", "fault"), at(IN_TRANSACTION))
async def test_the_truth_about_every_recipient(
    relay: ScriptedRelay, script: Script, verb: str, fault: Fault
) -> None:
    """Nobody is sent who was not accepted, nobody tried again who may have been without doubt."""
    session = await session_with(
        relay, timeouts={IN_TRANSACTION[verb]: SHORT, "end_of_data": SHORT}
    )
    fault.inflict(script.on(verb, occurrence=2 if verb == "RCPT" else None))
    transacted = await transact(session, ENVELOPE, CONTENT)
    assert isinstance(transacted, Transacted)
    assert len(transacted.findings) == len(ENVELOPE.recipients)
    for finding, verdict in zip(transacted.findings, verdicts(transacted.findings), strict=True):
        assert not finding.evidence.stage.is_before_mail
        if verdict.drops_session:
            assert not session.is_usable
    accepted = {one for offer in relay.ledger.accepted for one in offer.recipients}
    for recipient, outcome in zip(ENVELOPE.recipients, outcomes(transacted.findings), strict=True):
        if outcome is Outcome.SENT:
            assert recipient in accepted
        if recipient in accepted:
            assert outcome in (Outcome.SENT, Outcome.IN_DOUBT)
        if outcome is Outcome.IN_DOUBT:
            assert dot_written(session)
    session.abort()
    await relay.wait_sessions_closed()


@pytest.mark.parametrize(("verb", "fault"), at(IN_TRANSACTION))
async def test_a_used_session_is_no_worse(
    relay: ScriptedRelay, script: Script, verb: str, fault: Fault
) -> None:
    """On the second message the same holds, or the session is stale and nothing was accepted."""
    keys = {IN_TRANSACTION[verb]: SHORT, "end_of_data": SHORT, "rset": SHORT}
    session = await session_with(relay, timeouts=keys)
    await transact(session, ENVELOPE, CONTENT)
    assert len(relay.ledger.accepted) == 1
    fault.inflict(script.on(verb, transaction=2, occurrence=2 if verb == "RCPT" else None))
    transacted = await transact(session, ENVELOPE, CONTENT)
    if transacted is None:
        assert not session.is_usable
        assert not dot_written(session)
        assert len(relay.ledger.accepted) == 1
    else:
        accepted = len(relay.ledger.accepted) == 2
        assert (Outcome.SENT in outcomes(transacted.findings)) <= accepted
        assert accepted <= (
            not {Outcome.DEFER, Outcome.FAIL} & set(outcomes(transacted.findings)) or verb == "RCPT"
        )
    session.abort()
    await relay.wait_sessions_closed()


@pytest.mark.parametrize(("verb", "fault"), at(BEFORE_MAIL | SECURED))
async def test_no_mail_pays_for_a_relays_trouble(
    tls_relay: ScriptedRelay, script: Script, ca_file: str, verb: str, fault: Fault
) -> None:
    """Whatever goes wrong before MAIL is the relay's: deferred, not charged, the relay paused."""
    fault.inflict(script.on(verb))
    stage = {**BEFORE_MAIL, **SECURED}[verb]
    session = await try_to_open(
        tls_relay, tls="starttls", ca_file=ca_file, timeouts={stage: SHORT}, **USERS
    )
    if isinstance(session, Evidence):
        verdict = judge(session)
        assert session.stage.is_before_mail
        assert verdict.outcome is Outcome.DEFER
        assert verdict.pauses_relay
        assert not verdict.charged
    else:
        assert session.facts.tls, "there is no session but a secured one"
        assert tls_relay.ledger.sessions[0].authenticated_as == "user"
        session.abort()
    await tls_relay.wait_sessions_closed()
    assert tls_relay.ledger.seen["MAIL"] == 0
