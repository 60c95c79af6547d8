"""What the tests of the wire are made of: a mail, and sessions with a scripted relay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from mailqueue.clock import Clock, FakeClock
from mailqueue.config.relays import RelaySettings
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome, Verdict, judge
from mailqueue.smtp import (
    BeforeDot,
    Relay,
    Session,
    Transacted,
    Transaction,
    Transcript,
    open_session,
)
from mailqueue.testing import RelayThread, ScriptedRelay

ANN, BOB, CEE = "ann@example.net", "bob@example.net", "cee@example.net"
ENVELOPE = Envelope("sender@example.org", (ANN, BOB, CEE))
CONTENT = Content(b"Subject: hello\r\n\r\nhello\r\n", "<1@example.org>")

PIPELINING = True
"""Whether commands go in groups where nothing else is said; see the fixture `way`."""

_BEGUN: WeakKeyDictionary[Session, Transaction] = WeakKeyDictionary()

Keys = Any
"""Keys of `RelaySettings`, given to a test's relay."""


def content_of(octets: int) -> Content:
    """Return content of about so many octets, in lines that all begin with a dot."""
    line = b"." * 77 + b"\n"
    head = b"Subject: long\r\n\r\n"
    return Content(head + line.replace(b"\n", b"\r\n") * (octets // 79), "<2@example.org>")


def settings_for(relay: ScriptedRelay | RelayThread, **keys: Keys) -> RelaySettings:
    """Return settings that lead to this relay, without TLS unless ``keys`` say otherwise."""
    where = {"name": "test", "host": relay.host, "port": relay.port}
    given: dict[str, Keys] = {**where, "tls": "none", "pipelining": PIPELINING}
    return RelaySettings.model_validate(given | keys)


async def try_to_open(
    relay: ScriptedRelay | RelayThread,
    *,
    clock: Clock | None = None,
    transcript: Transcript | None = None,
    **keys: Keys,
) -> Session | Evidence:
    """Open a session, or return why there is none."""
    wanted = Relay(settings_for(relay, **keys))
    return await open_session(wanted, clock=clock or FakeClock(), transcript=transcript)


async def session_with(
    relay: ScriptedRelay | RelayThread,
    *,
    clock: Clock | None = None,
    transcript: Transcript | None = None,
    **keys: Keys,
) -> Session:
    """Open a session that must come about."""
    session = await try_to_open(relay, clock=clock, transcript=transcript, **keys)
    assert isinstance(session, Session), session
    return session


async def refusal_of(relay: ScriptedRelay | RelayThread, **keys: Keys) -> Evidence:
    """Try to open a session that must not come about."""
    evidence = await try_to_open(relay, **keys)
    assert isinstance(evidence, Evidence), evidence
    return evidence


async def transact(
    session: Session,
    envelope: Envelope,
    content: Content,
    *,
    before_dot: BeforeDot | None = None,
) -> Transacted | None:
    """Carry out a transaction, and remember it for `dot_written` and `interrupt`."""
    _BEGUN.pop(session, None)
    _BEGUN[session] = begun = session.begin(envelope, content, before_dot=before_dot)
    return await begun.run()


def dot_written(session: Session) -> bool:
    """Whether the final dot of the last transaction may have left."""
    return session in _BEGUN and _BEGUN[session].dot_written


def interrupt(session: Session, answer: NoReply) -> Sequence[Finding]:
    """End the last transaction from our side."""
    return _BEGUN[session].interrupt(answer)


async def findings_of(
    session: Session, envelope: Envelope = ENVELOPE, content: Content = CONTENT
) -> Sequence[Finding]:
    """Carry out a transaction that must not find the session stale."""
    transacted = await transact(session, envelope, content)
    assert isinstance(transacted, Transacted)
    assert len(transacted.findings) == len(envelope.recipients)
    return transacted.findings


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    """Judge each finding as the queue does."""
    return [judge(one.evidence, others_accepted=one.others) for one in findings]


def outcomes(findings: Sequence[Finding]) -> list[Outcome]:
    """Return what becomes of each recipient."""
    return [verdict.outcome for verdict in verdicts(findings)]


def stages(findings: Sequence[Finding]) -> list[Stage]:
    """Return the stage that decided each recipient."""
    return [one.evidence.stage for one in findings]


def code_of(evidence: Evidence) -> int:
    """Return the code of the reply that is expected here."""
    assert isinstance(evidence.answer, Reply), evidence
    return evidence.answer.code


def kind_of(evidence: Evidence) -> NoReplyKind:
    """Return the kind of silence that is expected here."""
    assert isinstance(evidence.answer, NoReply), evidence
    return evidence.answer.kind
