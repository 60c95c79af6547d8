"""The lifetime that every background part shares, and the wait that every loop uses."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod

from mailqueue.events import Emit, PartFailed


class Wake:
    """A bell: whoever waits goes on when it rings or when the time is up.

    A ring while nobody waits is kept for the next wait, so none is missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Let the waiter go on."""
        self._event.set()

    async def wait(self, timeout: float | None) -> bool:
        """Wait for a ring or for ``timeout`` seconds; returns whether it rang."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Service(ABC):
    """Start does not block; stop waits until stopped; doing either twice is harmless.

    A subclass has a `_run` that returns soon after ``self.stopping`` is set and
    ``self.wake`` has rung. What `_run` raises is reported, and it is run again: a part
    that died in silence is how a queue stands still for weeks.
    """

    restart_pause = 1.0
    """Seconds before a part that raised is run again."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.wake = Wake()
        self.stopping = False
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _run(self) -> None:
        """Do the work until ``self.stopping``."""

    def start(self) -> None:
        """Begin, unless begun or stopped."""
        if self._task is None and not self.stopping:
            self._task = asyncio.create_task(self._supervised(), name=type(self).__name__)

    async def stop(self) -> None:
        """End, and return when it has ended."""
        self.stopping = True
        self.wake.ring()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def abort(self) -> None:
        """End without finishing what was begun."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _supervised(self) -> None:
        while True:
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the daemon goes on
                self.emit(PartFailed(type(self).__name__, error))
            if self.stopping:
                return
            await self.wake.wait(self.restart_pause)
