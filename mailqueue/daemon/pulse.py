"""A relay's pulse: how fast it answers, as far as the last moment tells."""

from __future__ import annotations

WINDOW = 0.25
"""Seconds over which answers are counted."""
LEAST_SECONDS = 0.01
"""For so long it must have had something to answer before its pace is known."""


class Pulse:
    """Counts answers in windows of time; instants are monotonic seconds.

    Only the time counts in which there was something to answer: how long we took to bring the
    next mail says nothing of how fast the relay is.
    """

    def __init__(self) -> None:
        self._begun = float("-inf")
        self._count = 0
        self._busy = 0.0
        self._busy_since: float | None = None
        self._rate = 0.0

    def beat(self, count: int, *, now: float) -> None:
        """Note ``count`` answers."""
        self._move(now)
        self._count += count

    def work(self, *, now: float) -> None:
        """Note that there is something to answer from now on."""
        if self._busy_since is None:
            self._move(now)
            self._busy_since = now

    def rest(self, *, now: float) -> None:
        """Note that there is nothing to answer any more."""
        if self._busy_since is not None:
            self._move(now)
            self._busy, self._busy_since = self._worked(now), None

    def rate(self, *, now: float) -> float:
        """Return answers per second at work, of the last whole window or of what came since, if
        that is more; 0 after a pause.
        """
        self._move(now)
        return max(self._rate, self._present(now))

    def _move(self, now: float) -> None:
        passed = now - self._begun
        if passed < WINDOW:
            return
        self._rate = self._present(now) if passed < 2 * WINDOW else 0.0
        self._begun, self._count, self._busy = now, 0, 0.0
        if self._busy_since is not None:
            self._busy_since = now

    def _present(self, now: float) -> float:
        worked = self._worked(now)
        return self._count / worked if worked >= LEAST_SECONDS else 0.0

    def _worked(self, now: float) -> float:
        return self._busy + (0.0 if self._busy_since is None else now - self._busy_since)
