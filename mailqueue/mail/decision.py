"""From what one recipient left a transaction with to what is written down about it."""

from __future__ import annotations

from dataclasses import replace

from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.reply import Unsendable
from mailqueue.mail.rule import Rule
from mailqueue.mail.schedule import Backoff, GiveUp, History, next_attempt
from mailqueue.mail.stage import Stage
from mailqueue.mail.value import value
from mailqueue.mail.verdict import Outcome, Scope, Verdict, judge


@value
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
    is_stand_in: bool = False,
) -> Decision:
    """Judge ``finding`` and schedule what follows; ``history.attempts`` are those before it.

    ``is_stand_in``: it comes from a fallback, which another relay's mail went to meanwhile.
    """
    verdict = _judged(finding, is_stand_in=is_stand_in)
    match verdict.outcome:
        case Outcome.SENT:
            return Decision(Event.SEND, verdict, finding)
        case Outcome.FAIL:
            return Decision(Event.FAIL, verdict, finding)
        case Outcome.IN_DOUBT if on_doubt is OnDoubt.HOLD:
            return Decision(Event.HOLD_DOUBT, verdict, finding)
        case _ if _goes_back(verdict, finding.evidence.stage):
            # Due now, which is behind all that were due before: another mail probes next.
            return Decision(Event.HAND_BACK, verdict, finding, due_at=now)
    if not verdict.charged:
        # Nothing was charged that the pause could grow with, so it grows with the mail's age.
        policy = policy.aged((now - history.enqueued_at) / 1e6)
    charged = replace(history, attempts=history.attempts + verdict.charged)
    match next_attempt(charged, policy, now=now, jitter=jitter):
        case GiveUp():
            return Decision(Event.GIVE_UP, verdict, finding)
        case retry:
            return Decision(Event.DEFER, verdict, finding, due_at=retry.at)


def _judged(finding: Finding, *, is_stand_in: bool) -> Verdict:
    if is_stand_in and isinstance(finding.evidence.answer, Unsendable):
        # What a fallback does not offer, the relay that the mail is meant for may.
        return Verdict(Outcome.DEFER, Scope.MESSAGE, Rule.STAND_IN_UNFIT, charged=False)
    return judge(finding.evidence, others_accepted=finding.others)


def _goes_back(verdict: Verdict, stage: Stage) -> bool:
    """Whether it is as if nothing had been begun with this mail.

    What is uncharged and came at MAIL or later may be this mail's alone: a fault of ours
    that it meets each time, or a relay that will not have its sender. Due at once, it
    would be the one to probe with again, and keep the relay closed for all others.
    """
    if verdict.rule is Rule.ABANDONED or verdict.at_once:
        return True
    return not verdict.charged and stage.is_before_mail
