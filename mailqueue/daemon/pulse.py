"""A relay's pulse: how fast it answers, as far as the last moment tells."""

from __future__ import annotations

WINDOW = 0.25
"""Seconds over which answers are counted."""


class Pulse:
    """Counts answers in windows of time; instants are monotonic seconds."""

    def __init__(self) -> None:
        self._begun = float("-inf")
        self._count = 0
        self._rate = 0.0

    def beat(self, count: int, *, now: float) -> None:
        """Note ``count`` answers."""
        self._move(now)
        self._count += count

    def rate(self, *, now: float) -> float:
        """Return answers per second in the last whole window; 0 after a pause."""
        self._move(now)
        return self._rate

    def _move(self, now: float) -> None:
        passed = now - self._begun
        if passed < WINDOW:
            return
        self._rate = self._count / passed if passed < 2 * WINDOW else 0.0
        self._begun, self._count = now, 0
