"""A schedule laid out in time, for people to judge it by."""

from __future__ import annotations

from dataclasses import dataclass

from mailqueue.mail.schedule import Backoff, GiveUp, History, next_attempt

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt: ``pause`` seconds after the one before, ``at`` seconds after the first."""

    attempt: int
    pause: float
    at: float
    is_last: bool = False


def timetable(policy: Backoff, *, jitter: float = 0.0, most: int = 1000) -> tuple[Step, ...]:
    """Return the attempts of a message that is deferred each time, up to ``most`` of them.

    The first is at once and none takes any time; ``jitter`` in [0, 1) is the same for all.
    """
    steps = [Step(1, 0.0, 0.0)]
    while len(steps) < most:
        before = steps[-1]
        now = round(before.at * _SECOND)
        match next_attempt(History(0, before.attempt), policy, now=now, jitter=jitter):
            case GiveUp():
                break
            case retry:
                at = retry.at / _SECOND
                steps.append(Step(before.attempt + 1, at - before.at, at, retry.last))
    return tuple(steps)


def left(history: History, policy: Backoff, *, now: int, most: int = 1000) -> int:
    """Return how many attempts the schedule has for ``history`` after a deferral at ``now``.

    Instants in epoch microseconds; without jitter, and counted up to ``most``.
    """
    count, attempts = 0, history.attempts
    while count < most:
        seen = History(history.enqueued_at, attempts, history.expires_at)
        found = next_attempt(seen, policy, now=now, jitter=0.0)
        if isinstance(found, GiveUp):
            break
        now, attempts, count = found.at, attempts + 1, count + 1
    return count
