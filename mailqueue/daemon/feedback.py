"""What a transaction's results say about the relay, and not about the mail."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from mailqueue.mail.decision import Decision
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind
from mailqueue.mail.verdict import Outcome, Scope


class Health(Enum):
    """How the relay took part."""

    WELL = auto()
    SESSION_TROUBLE = auto()
    RELAY_TROUBLE = auto()
    UNKNOWN = auto()


_OURS = (NoReplyKind.ABANDONED, NoReplyKind.LOCAL)


def health(decisions: Sequence[Decision]) -> tuple[Health, Evidence | None]:
    """Return how the relay is, by the worst of ``decisions``, with the evidence for it."""
    for decision in decisions:
        if decision.verdict.outcome is not Outcome.SENT:
            return _worst(decisions)
    return (Health.WELL if decisions else Health.UNKNOWN), None


def _worst(decisions: Sequence[Decision]) -> tuple[Health, Evidence | None]:
    for decision in decisions:
        if decision.verdict.pauses_relay:
            return Health.RELAY_TROUBLE, decision.finding.evidence
    for decision in decisions:
        if _is_session_trouble(decision):
            return Health.SESSION_TROUBLE, decision.finding.evidence
    if any(not isinstance(one.finding.evidence.answer, NoReply) for one in decisions):
        return Health.WELL, None
    return Health.UNKNOWN, None


def _is_session_trouble(decision: Decision) -> bool:
    answer = decision.finding.evidence.answer
    if isinstance(answer, NoReply):
        return answer.kind not in _OURS
    return decision.verdict.scope is Scope.SESSION
