"""Whether a relay that offers PIPELINING is taken at its word."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

TROUBLES: Final = 3
"""Sessions in a row that must come to grief over a group of commands."""
SECONDS: Final = 3600.0
"""For how long a relay is then driven step by step."""


@dataclass(slots=True)
class Trust:
    """Falls back to one command at a time where groups of commands keep ending sessions.

    One such session may be bad luck. After the third without a session in order between them
    groups are not tried for an hour; then a single one more is enough for the next hour.
    """

    _troubles: int = field(default=0, init=False)
    _until: float = field(default=-inf, init=False)

    def allows(self, now: float) -> bool:
        """Whether commands may be sent in groups at ``now`` (monotonic seconds)."""
        return now >= self._until

    def well(self) -> None:
        """Note that groups of commands have been carried in order."""
        self._troubles = 0

    def trouble(self, now: float) -> bool:
        """Note that a session ended over a group; returns whether that was once too often."""
        self._troubles += 1
        if self._troubles < TROUBLES or not self.allows(now):
            return False
        self._troubles = TROUBLES - 1
        self._until = now + SECONDS
        return True
