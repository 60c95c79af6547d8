"""The real daemon for tests: in the loop of the test, or as a process with signals of its own.

Wherever it runs it works on a real outbox file, and what a test asks of that file it asks in
plain SQL, as a person with a shell would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import mailqueue.events as happened
from mailqueue.assembly import assemble
from mailqueue.clock import Clock, SystemClock, microseconds
from mailqueue.config import Loaded
from tests.support.outbox_file import BODY, SENDER, OutboxFile, PlainOutbox
from tests.support.process import ROOT, DaemonProcess, Notifications, process
from tests.support.settings import Settings, leading_to, loaded, settings_for, write_settings
from tests.support.waiting import until

__all__ = [
    "BODY",
    "ROOT",
    "SENDER",
    "Daemon",
    "DaemonProcess",
    "Notifications",
    "OutboxFile",
    "PassingClock",
    "PlainOutbox",
    "Settings",
    "leading_to",
    "loaded",
    "process",
    "running",
    "settings_for",
    "until",
    "write_settings",
]

E = TypeVar("E")


class PassingClock(SystemClock):
    """The machine's time, and what a test lets pass at once. Chance is 0, so backoffs are exact."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> int:
        """Return the wall time with what has been let pass."""
        return super().now() + microseconds(self._ahead)

    def monotonic(self) -> float:
        """Return monotonic seconds with what has been let pass."""
        return super().monotonic() + self._ahead

    def random(self) -> float:
        """Return the same chance each time."""
        return 0.0

    def let_pass(self, seconds: float) -> None:
        """Move both scales on."""
        self._ahead += seconds


class Daemon:
    """A daemon in the loop of the test. ``events`` holds all that it has told so far."""

    def __init__(
        self,
        outbox: PlainOutbox,
        settings: Settings,
        *,
        clock: Clock | None = None,
        reload: Callable[[], Loaded] | None = None,
    ) -> None:
        self.outbox = outbox
        self.clock = clock or SystemClock()
        self.events: list[happened.Event] = []
        self.supervisor = assemble(
            loaded(settings), reload=reload, clock=self.clock, emit=self.events.append
        )
        self.parts = self.supervisor.parts
        self._running = asyncio.create_task(self.supervisor.run())

    async def started(self) -> None:
        """Return once it takes mail; raises what kept it from starting."""
        starting = asyncio.create_task(self.supervisor.started.wait())
        try:
            await asyncio.wait([starting, self._running], return_when=asyncio.FIRST_COMPLETED)
            if self._running.done():
                await self._running
        finally:
            starting.cancel()

    async def stop(self, reason: str = "the test is over") -> None:
        """End it in order, and raise what it ended with."""
        self.supervisor.stop(reason)
        await self._running

    async def let_pass(self, seconds: float) -> None:
        """Let so much time pass on a `PassingClock`, and everybody look at the clock."""
        assert isinstance(self.clock, PassingClock)
        self.clock.let_pass(seconds)
        parts = self.parts
        # A share that was not renewed for so long has lapsed, and nothing begins without one.
        await parts.shares.look()
        for part in (parts.keeper, parts.janitor, parts.pauses, parts.dispatcher):
            part.wake.ring()

    async def rounds(self, count: int = 2) -> None:
        """Return once the dispatcher has looked at everything so often again."""
        for _ in range(count):
            last = self.parts.dispatcher.last_round
            self.parts.dispatcher.wake.ring()
            await self.until(lambda last=last: self.parts.dispatcher.last_round > last)  # type: ignore[misc]

    async def until(self, condition: Callable[[], bool], *, timeout: float = 15.0) -> None:
        """Return once ``condition`` holds; otherwise say how the outbox stands."""
        await until(condition, what=self._situation, timeout=timeout)

    async def until_states(self, *, timeout: float = 15.0, **states: int) -> None:
        """Return once the recipients are in these states, as ``sent=3, failed=1``, and no other."""
        await self.until(lambda: self.outbox.states() == Counter(states), timeout=timeout)

    async def until_told(self, kind: type[E], count: int = 1, *, timeout: float = 15.0) -> list[E]:
        """Return the events of this kind once there are ``count``."""
        await self.until(lambda: len(self.told(kind)) >= count, timeout=timeout)
        return self.told(kind)

    def told(self, kind: type[E]) -> list[E]:
        """Return the events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def _situation(self) -> str:
        last = "\n".join(map(repr, self.events[-10:]))
        return f"{dict(self.outbox.states())}; the last events:\n{last}"


@contextlib.asynccontextmanager
async def running(
    outbox: PlainOutbox,
    relays: Mapping[str, Settings],
    *,
    clock: Clock | None = None,
    reload: Callable[[], Loaded] | None = None,
    **sections: Any,
) -> AsyncIterator[Daemon]:
    """Run a daemon in this loop; at the end none of its parts may have failed."""
    settings = settings_for(outbox, relays, **sections)
    daemon = Daemon(outbox, settings, clock=clock, reload=reload)
    try:
        await daemon.started()
        yield daemon
    finally:
        await daemon.stop()
    assert not daemon.told(happened.PartFailed), daemon.told(happened.PartFailed)
