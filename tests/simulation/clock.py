"""Time and chance of one simulated machine."""

from __future__ import annotations

import asyncio
import random

from mailqueue.clock import microseconds

EPOCH = microseconds(1_700_000_000)


class WallTime:
    """The wall time that all processes of the machine share; an administrator may set it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.ahead = 0.0
        self.jumped_at = float("-inf")
        """When it was last set, in the seconds of the loop."""

    def now(self) -> int:
        """Return epoch microseconds."""
        return EPOCH + microseconds(self._loop.time() + self.ahead)

    def jump(self, seconds: float) -> None:
        """Set it so many seconds on, or back."""
        self.ahead += seconds
        self.jumped_at = self._loop.time()


class SimulatedClock:
    """What one process asks of time and chance (see `mailqueue.clock.Clock`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: WallTime, seed: str) -> None:
        self._loop = loop
        self._wall = wall
        self._chance = random.Random(seed)

    def now(self) -> int:
        """Return the wall time in epoch microseconds."""
        return self._wall.now()

    def monotonic(self) -> float:
        """Return the seconds of the loop."""
        return self._loop.time()

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self._chance.random()

    def token(self, size: int = 8) -> str:
        """Return digits that no other process draws."""
        return self._chance.randbytes(size).hex()
