"""What a piece of evidence means for a recipient: `judge`, a total function.

The stage gives the scope, the first digit decides, the enhanced code refines; the text
only labels. A reply is never in doubt, only silence after the final dot is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply, Unsendable
from mailqueue.mail.rule import Rule
from mailqueue.mail.stage import Stage


class Outcome(StrEnum):
    """What becomes of the recipient."""

    SENT = "sent"
    DEFER = "defer"
    FAIL = "fail"
    IN_DOUBT = "in-doubt"


class Scope(StrEnum):
    """Whose trouble it is."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    SESSION = "session"
    RELAY = "relay"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, whose trouble it is, and the rule that said so.

    ``charged``: whether this counts as an attempt of the recipient. ``drops_session``: the
    session must not carry another command. ``pauses_relay``: every other mail would meet
    the same, so the breaker opens. ``at_once``: try again in the next transaction.
    """

    outcome: Outcome
    scope: Scope
    rule: Rule
    charged: bool = True
    drops_session: bool = False
    pauses_relay: bool = False
    at_once: bool = False


_SENT = Verdict(Outcome.SENT, Scope.MESSAGE, Rule.ACCEPTED)

AUTHENTICATION_REQUIRED = frozenset({530, 534, 535, 538})
"""Replies that speak of our credentials or of TLS, whichever command they answer
(RFC 4954 section 6, RFC 3207 section 4)."""

_ASKS_FOR_AUTHENTICATION = re.compile(
    r"\bauth(entication|enticate)?\b.{0,20}\b(first|required)\b"
    r"|\b(must|need to|please|send)\b.{0,30}\b(authenticate|auth|starttls)\b"
    r"|\bstarttls\b.{0,20}\b(first|required)\b",
    re.IGNORECASE,
)
_TOO_MANY_RECIPIENTS = re.compile(r"\btoo many (recipients|rcpts?)\b", re.IGNORECASE)


def judge(evidence: Evidence, *, others_accepted: bool = False) -> Verdict:
    """Return the verdict for a recipient whose deciding evidence this is.

    ``others_accepted``: another recipient of the transaction had been accepted when
    this evidence came. Total: every stage with every answer has a verdict, and none raises.
    """
    answer, stage = evidence.answer, evidence.stage
    match answer:
        case Unsendable():
            scope = Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE
            return Verdict(Outcome.FAIL, scope, Rule.UNSENDABLE)
        case NoReply():
            return _judge_silence(stage, answer.kind)
        case Reply() if stage.is_housekeeping:
            return _session(Rule.HOUSEKEEPING)
        case Reply() if stage.is_before_mail:
            return _relay(Rule.RELAY_REPLY)
        case Reply():
            return _judge_reply(stage, answer, others_accepted=others_accepted)


def _judge_silence(stage: Stage, kind: NoReplyKind) -> Verdict:
    if stage is Stage.END_OF_DATA:
        return _in_doubt(Rule.SILENCE_AFTER_DOT)
    if kind is NoReplyKind.ABANDONED:
        return _local(Rule.ABANDONED)
    if stage.is_before_mail:
        # A password file that cannot be read is our own fault, and every mail would meet it.
        return _relay(Rule.RELAY_SILENCE)
    if kind is NoReplyKind.LOCAL:
        return _local(Rule.LOCAL_FAULT)
    if stage.is_housekeeping:
        return _session(Rule.HOUSEKEEPING)
    if kind is NoReplyKind.MALFORMED:
        return _session(Rule.MALFORMED)
    return _session(Rule.SILENCE_BEFORE_DOT)


def _judge_reply(stage: Stage, reply: Reply, *, others_accepted: bool) -> Verdict:
    if reply.code == 421:
        return _closing(stage)
    if not _is_expected_class(stage, reply):
        return _in_doubt(Rule.MALFORMED) if stage is Stage.END_OF_DATA else _session(Rule.MALFORMED)
    if reply.is_positive:
        return _SENT
    if _asks_for_authentication(stage, reply):
        return _relay(Rule.AUTHENTICATION_REQUIRED)
    if stage is Stage.RCPT:
        return _judge_recipient(reply, others_accepted=others_accepted)
    if reply.is_transient:
        return Verdict(Outcome.DEFER, Scope.MESSAGE, Rule.MESSAGE_DEFERRED)
    return Verdict(Outcome.FAIL, Scope.MESSAGE, Rule.MESSAGE_REFUSED)


def _closing(stage: Stage) -> Verdict:
    # At MAIL the relay has seen nothing of the message: it speaks of its own load, and
    # the next message would hear the same (RFC 5321 section 3.8).
    overloaded = stage is Stage.MAIL
    return Verdict(
        Outcome.DEFER,
        Scope.SESSION,
        Rule.RELAY_OVERLOADED if overloaded else Rule.RELAY_CLOSING,
        charged=not overloaded,
        drops_session=True,
        pauses_relay=overloaded,
    )


def _is_expected_class(stage: Stage, reply: Reply) -> bool:
    if reply.is_transient or reply.is_permanent:
        return True
    # Only the final dot is decided by a 2xx. A 2xx to MAIL, RCPT or DATA that arrives
    # here as deciding evidence was out of order: 250 to DATA means nothing was sent.
    return reply.is_positive and stage is Stage.END_OF_DATA


def _asks_for_authentication(stage: Stage, reply: Reply) -> bool:
    if stage is Stage.END_OF_DATA or not reply.is_permanent:
        return False
    if reply.code in AUTHENTICATION_REQUIRED:
        return True
    return stage is Stage.MAIL and bool(_ASKS_FOR_AUTHENTICATION.search(reply.text))


def _judge_recipient(reply: Reply, *, others_accepted: bool) -> Verdict:
    if _means_too_many_recipients(reply, others_accepted=others_accepted):
        return Verdict(
            Outcome.DEFER,
            Scope.RECIPIENT,
            Rule.TOO_MANY_RECIPIENTS,
            charged=not others_accepted,
            at_once=others_accepted,
        )
    if reply.is_transient:
        return Verdict(Outcome.DEFER, Scope.RECIPIENT, Rule.RECIPIENT_DEFERRED)
    return Verdict(Outcome.FAIL, Scope.RECIPIENT, Rule.RECIPIENT_REFUSED)


def _means_too_many_recipients(reply: Reply, *, others_accepted: bool) -> bool:
    """Tell this meaning of 452 and 552 from quota and size (RFC 5321 section 4.5.3.1.10)."""
    if reply.code not in (452, 552):
        return False
    if reply.enhanced is not None:
        return (reply.enhanced.subject, reply.enhanced.detail) == (5, 3)
    return others_accepted or bool(_TOO_MANY_RECIPIENTS.search(reply.text))


def _relay(rule: Rule) -> Verdict:
    return Verdict(
        Outcome.DEFER, Scope.RELAY, rule, charged=False, drops_session=True, pauses_relay=True
    )


def _session(rule: Rule) -> Verdict:
    charged = rule is not Rule.HOUSEKEEPING
    return Verdict(Outcome.DEFER, Scope.SESSION, rule, charged=charged, drops_session=True)


def _local(rule: Rule) -> Verdict:
    return Verdict(Outcome.DEFER, Scope.LOCAL, rule, charged=False, drops_session=True)


def _in_doubt(rule: Rule) -> Verdict:
    return Verdict(Outcome.IN_DOUBT, Scope.MESSAGE, rule, drops_session=True)
