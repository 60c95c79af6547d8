"""How long to wait before something is tried again that the database has refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait between two tries, in seconds.

    The n-th wait is ``initial * 2 ** (n - 1)``, at most ``maximum``, of which a random part of up
    to one half is taken off. Each try of a busy database has waited for the busy timeout already.
    """

    initial: float = 0.1
    maximum: float = 2.0

    def delay(self, tried: int, jitter: float) -> float:
        """Return the seconds to wait after ``tried`` tries; ``jitter`` in [0, 1)."""
        # Beyond this exponent any start has passed any bound.
        return min(self.initial * 2.0 ** min(tried - 1, 64), self.maximum) * (1.0 - jitter / 2)


PATIENCE = Patience()
