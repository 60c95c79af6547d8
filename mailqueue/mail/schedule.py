"""When to try again, or that it is time to give up (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailqueue.mail.value import value

_SECOND = 1_000_000

LAST_ATTEMPT_SECONDS = 60.0
"""How long before its deadline a message gets its last attempt: the conversation takes time."""
LAST_ATTEMPT_SHARE = 0.1
"""The same as a share of the whole lifetime, for mail that lives for seconds or minutes."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How waiting times grow. Durations in seconds.

    The n-th charged attempt is followed by ``initial * factor ** (n - 1)``, at most
    ``maximum``, of which a random part of up to ``jitter`` (0 to 1) is taken off, so that
    mail deferred together does not come back together. ``give_up`` after
    the message was enqueued, a recipient that was not sent expires.
    """

    initial: float = 300.0
    factor: float = 2.0
    maximum: float = 14_400.0
    jitter: float = 0.2
    give_up: float = 432_000.0

    def delay(self, attempts: int, jitter: float) -> float:
        """Return seconds to wait after ``attempts`` charged attempts; ``jitter`` in [0, 1)."""
        return self._step(max(attempts, 1)) * (1.0 - self.jitter * jitter)

    def aged(self, seconds: float) -> Backoff:
        """Return a policy whose pauses begin at ``seconds``, within the bounds of this one."""
        return replace(self, initial=max(self.initial, min(seconds, self.maximum)))

    def _step(self, attempts: int) -> float:
        try:
            grown = self.initial * self.factor ** (attempts - 1)
        except OverflowError:
            return self.maximum
        return min(grown, self.maximum)


@value
class History:
    """What the schedule needs to know of a recipient.

    ``attempts`` counts the charged ones, with the one just judged among them.
    ``expires_at`` is the message's own deadline, in epoch microseconds, if it has one.
    """

    enqueued_at: int
    attempts: int
    expires_at: int | None = None

    def deadline(self, policy: Backoff) -> int:
        """Return the instant after which no attempt is begun."""
        given_up_at = self.enqueued_at + round(policy.give_up * _SECOND)
        return given_up_at if self.expires_at is None else min(given_up_at, self.expires_at)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at ``at`` (epoch microseconds); ``last``: there will be no other."""

    at: int
    last: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The deadline leaves no room for another attempt."""


def next_attempt(history: History, policy: Backoff, *, now: int, jitter: float) -> Retry | GiveUp:
    """Return when to try again after a deferral at ``now`` (epoch microseconds).

    Where the next regular attempt would miss the deadline, the time that remains is used
    for one last attempt shortly before it; after that one there is no other.
    """
    deadline = history.deadline(policy)
    regular = now + round(policy.delay(history.attempts, jitter) * _SECOND)
    last = deadline - _margin(history, deadline)
    if regular < last:
        return Retry(regular)
    if now < last:
        return Retry(last, last=True)
    return GiveUp()


def _margin(history: History, deadline: int) -> int:
    lifetime = max(deadline - history.enqueued_at, 0)
    return min(round(LAST_ATTEMPT_SECONDS * _SECOND), round(lifetime * LAST_ATTEMPT_SHARE))
