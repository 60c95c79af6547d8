"""How many recipients one transaction takes, so that nobody waits long for the write lock."""

from __future__ import annotations

from dataclasses import dataclass

TARGET = 0.02
"""Seconds that a transaction is meant to take. On a busy machine one takes several times as long as
the one before, and must then still be over in a tenth of a second."""
FEWEST = 50
"""Where the disk is slow a commit takes its time by itself, and smaller ones would only be more."""
FIRST = 200
MOST = 2_000
SHORTEST_PAUSE = 0.005


@dataclass(frozen=True, slots=True)
class Stride:
    """The ``size`` of the next transaction, learnt from how long the last one took."""

    size: int = FIRST

    def after(self, seconds: float) -> Stride:
        """Return the stride that follows a transaction of ``seconds``.

        It grows by half at most, because the next rows may be dearer, and shrinks as far as needed.
        """
        fits = self.size * TARGET / seconds if seconds > 0 else MOST
        return Stride(round(max(FEWEST, min(fits, self.size * 1.5, MOST))))

    def pause(self, held: float, *, waited: float) -> float:
        """Return for how many seconds others get their turn after a transaction.

        It ``held`` the lock for so long, and ``waited`` for it before: others wrote then.
        """
        return max(SHORTEST_PAUSE, min(held, 2 * TARGET) - waited)
