"""What a sink has taken in: how often each recipient, when, over how many sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self


class WrongCount(Exception):
    """Mails were lost, doubled or made up, so that the measurement means nothing."""


@dataclass(frozen=True, slots=True)
class Count:
    """A ledger's sums. ``again``: how many recipients came once more after the first time."""

    messages: int
    recipients: int
    again: int
    sessions: int
    peak_sessions: int

    def check(self, expected: int) -> Self:
        """Raise `WrongCount` unless ``expected`` recipients came, and each of them once."""
        if (self.recipients, self.again) != (expected, 0):
            raise WrongCount(
                f"{self.recipients} of {expected} recipients arrived, {self.again} of them again"
            )
        return self


class Ledger:
    """Counts what arrives, and tells when the first session began and when enough has come."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], now: Callable[[], float]) -> None:
        self._tell = tell
        self._now = now
        self.clear()

    def clear(self) -> None:
        """Begin anew; sessions that are open stay counted as open ones."""
        self.arrived: dict[bytes, float] = {}
        self._messages = 0
        self._again = 0
        self._sessions = 0
        self._open = getattr(self, "_open", 0)
        self._peak = self._open
        self._expected = 0
        self._is_untouched = True

    def expect(self, recipients: int) -> None:
        """Tell ``reached`` as soon as so many different recipients have arrived."""
        self._expected = recipients
        self._look()

    def session_begins(self) -> None:
        """Count a session; the first since the ledger was cleared is told."""
        if self._is_untouched:
            self._is_untouched = False
            self._tell({"event": "first", "at": self._now()})
        self._sessions += 1
        self._open += 1
        self._peak = max(self._peak, self._open)

    def session_ends(self) -> None:
        """Count a session as no longer open."""
        self._open -= 1

    def take(self, recipients: Sequence[bytes]) -> None:
        """Count a message whose final dot has come."""
        now = self._now()
        arrived = self.arrived
        for recipient in recipients:
            if recipient in arrived:
                self._again += 1
            else:
                arrived[recipient] = now
        self._messages += 1
        if self._expected:
            self._look()

    def count(self) -> Count:
        """Return the sums as they stand."""
        return Count(self._messages, len(self.arrived), self._again, self._sessions, self._peak)

    def _look(self) -> None:
        if self._expected and len(self.arrived) >= self._expected:
            self._expected = 0
            self._tell({"event": "reached", "at": self._now()})
