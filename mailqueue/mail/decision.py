"""From what one recipient left a transaction with to what is written down about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.rule import Rule
from mailqueue.mail.schedule import Backoff, GiveUp, History, next_attempt
from mailqueue.mail.verdict import Outcome, Scope, Verdict, judge


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a recipient: the event, when it is due again, and why.

    ``due_at`` in epoch microseconds; None where no daemon looks at it again.
    """

    event: Event
    verdict: Verdict
    finding: Finding
    due_at: int | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether an attempt is written for it.

        Trouble before MAIL is written once, on the relay, and not on each mail that
        happened to meet it; a hand-back because we stopped is no attempt at all. Whatever
        changes more than the due time is written.
        """
        return self.event is not Event.HAND_BACK or not (
            self.finding.evidence.stage.is_before_mail or self.verdict.rule is Rule.ABANDONED
        )


def decide(
    finding: Finding,
    history: History,
    policy: Backoff,
    *,
    on_doubt: OnDoubt,
    now: int,
    jitter: float,
) -> Decision:
    """Judge ``finding`` and schedule what follows; ``history.attempts`` are those before it."""
    verdict = judge(finding.evidence, others_accepted=finding.others)
    match verdict.outcome:
        case Outcome.SENT:
            return Decision(Event.SEND, verdict, finding)
        case Outcome.FAIL:
            return Decision(Event.FAIL, verdict, finding)
        case Outcome.IN_DOUBT if on_doubt is OnDoubt.HOLD:
            return Decision(Event.HOLD_DOUBT, verdict, finding)
        case _ if _goes_back(verdict):
            # Due now, which is behind all that were due before: another mail probes next.
            return Decision(Event.HAND_BACK, verdict, finding, due_at=now)
    if verdict.scope is Scope.LOCAL:
        # Nothing was charged that the pause could grow with, so it grows with the mail's age.
        policy = policy.aged((now - history.enqueued_at) / 1e6)
    charged = replace(history, attempts=history.attempts + verdict.charged)
    match next_attempt(charged, policy, now=now, jitter=jitter):
        case GiveUp():
            return Decision(Event.GIVE_UP, verdict, finding)
        case retry:
            return Decision(Event.DEFER, verdict, finding, due_at=retry.at)


def _goes_back(verdict: Verdict) -> bool:
    if verdict.scope is Scope.LOCAL:
        # A fault of our own would meet the same mail again at once: that one waits.
        return verdict.rule is Rule.ABANDONED
    return not verdict.charged
