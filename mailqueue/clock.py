"""Time and chance, in one place, so that everything else takes them as arguments."""

from __future__ import annotations

import random
import secrets
import time
from typing import Final, Protocol

MICROSECONDS = 1_000_000
"""Microseconds in a second: instants are stored as integer epoch microseconds."""


def microseconds(seconds: float) -> int:
    """Turn a duration in seconds into whole microseconds."""
    return round(seconds * MICROSECONDS)


_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Return seconds that count on while the machine sleeps, where the system can tell.

    Only differences mean anything.
    """
    return time.clock_gettime(_BOOT)


class Clock(Protocol):
    """What the queue asks of time and chance."""

    def now(self) -> int:
        """Return the wall time in epoch microseconds. It may jump either way."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def token(self, size: int = 8) -> str:
        """Return ``size`` random bytes as hexadecimal digits, never twice the same."""
        ...


class SystemClock:
    """The machine's own time and randomness."""

    def now(self) -> int:
        """Return the wall time in epoch microseconds."""
        return time.time_ns() // 1000

    # Asked a dozen times for every mail: so without a function of ours in between.
    monotonic = staticmethod(time.monotonic)
    random = staticmethod(random.random)

    def token(self, size: int = 8) -> str:
        """Return unguessable hexadecimal digits."""
        return secrets.token_hex(size)


class FakeClock:
    """A clock that stands still until told otherwise, for tests and simulations.

    ``random()`` returns ``chance``; ``token()`` counts.
    """

    def __init__(self, now: int = 1_700_000_000 * MICROSECONDS, *, chance: float = 0.0) -> None:
        self._now = now
        self._monotonic = 0.0
        self._tokens = 0
        self.chance = chance

    def now(self) -> int:
        """Return the wall time last set."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._monotonic

    def random(self) -> float:
        """Return ``chance``."""
        return self.chance

    def token(self, size: int = 8) -> str:
        """Return the next number, as wide as asked for."""
        self._tokens += 1
        return f"{self._tokens:0{2 * size}x}"

    def advance(self, seconds: float) -> None:
        """Let time pass on both scales."""
        self._now += microseconds(seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall time alone, as an administrator or NTP does."""
        self._now += microseconds(seconds)
