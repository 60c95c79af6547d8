"""A deadline that moves with every reply, on one timer that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Deadline:
    """Rings once no more time is left for what is awaited.

    The timer is not set anew with each wait: it looks at the deadline now and then, at least
    as often as the ``shortest`` wait there is (seconds), and so is never late.
    """

    __slots__ = ("_at", "_loop", "_ring", "_shortest", "_timer")

    def __init__(self, ring: Callable[[], None], *, shortest: float) -> None:
        self._ring = ring
        self._shortest = shortest
        self._loop = asyncio.get_running_loop()
        self._at = inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, whatever was awaited before; infinite: not at all."""
        if seconds == inf:
            self._at = inf
            return
        now = self._loop.time()
        self._at = now + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(now + min(seconds, self._shortest), self._look)

    def cancel(self) -> None:
        """Never ring any more."""
        self._at = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at == inf:
            return
        now = self._loop.time()
        if now >= self._at:
            self._at = inf
            self._ring()
        else:
            self._timer = self._loop.call_at(min(self._at, now + self._shortest), self._look)
