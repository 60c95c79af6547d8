"""An event loop of virtual time: seeded, without any input or output, and never waiting."""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
import socket
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol
from weakref import WeakKeyDictionary


class Place:
    """A process, as far as the loop knows it: its callbacks can be frozen, or dropped for good.

    Whatever is begun within `inside` belongs to it, and all that follows from that.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self._withheld: deque[asyncio.Handle] = deque()

    def inside(self) -> Context:
        """Return a context whose callbacks belong here."""
        context = copy_context()
        context.run(_PLACE.set, self)
        return context

    def takes(self, handle: asyncio.Handle) -> bool:
        """Return whether ``handle`` may run now; what may not is kept for the thaw."""
        if self.is_frozen and not self.is_dead:
            self._withheld.append(handle)
        return not (self.is_dead or self.is_frozen)

    def thaw(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on where it was frozen, as after SIGCONT."""
        self.is_frozen = False
        while self._withheld:
            loop.call_soon(self._withheld.popleft()._run)


_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)
NOWHERE = Context()
"""The context of what outlives every process, such as bytes that have left it."""


def here() -> Place | None:
    """Return the process that is running."""
    return _PLACE.get()


def _may_run(handle: asyncio.Handle) -> bool:
    place = handle._context.get(_PLACE)  # type: ignore[attr-defined]
    return place is None or place.takes(handle)


class _Step(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        if not self.cancelled() and _may_run(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        if not self.cancelled() and _may_run(self):
            super()._run()


class Wires(Protocol):
    """Stands for the machine's network."""

    async def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Answer as `getaddrinfo`."""
        ...

    async def dial(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Connect, or raise OSError."""
        ...

    async def attach(
        self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, *, tls: bool
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Give a connected socket its transport and protocol."""
        ...


class _NoWaiting(selectors.SelectSelector):
    """Where a loop would sleep, lets its time pass; where it would never wake, says so."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.now = 0.0
        self.ready: deque[asyncio.Handle] = deque()
        self._chance = chance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return no event: there are none but those of time."""
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: everybody waits for somebody")
        self.now += max(0.0, timeout)
        if len(self.ready) > 1:
            self._chance.shuffle(self.ready)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready in an order drawn from its seed, and jumps to the next timer."""

    def __init__(self, seed: int) -> None:
        self._no_waiting = _NoWaiting(random.Random(f"order {seed}"))
        super().__init__(self._no_waiting)
        self._no_waiting.ready = self._ready  # type: ignore[attr-defined]
        self.wires: Wires | None = None
        self.owners: WeakKeyDictionary[asyncio.Task[Any], Place | None] = WeakKeyDictionary()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._no_waiting.now

    def _make_task(
        self, _: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=self, context=context)
        self.owners[task] = here() if context is None else context.get(_PLACE)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run ``callback`` at the present instant, unless its process may not run."""
        handle = _Step(callback, args, self, context)
        self._no_waiting.ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` at ``when``, unless its process may not run."""
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """Take note of nothing: the simulation calls what a signal would."""

    def remove_signal_handler(self, *_: Any) -> bool:
        """Forget nothing."""
        return False

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Ask the simulated resolver."""
        assert self.wires is not None
        return await self.wires.resolve(host, port)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect within the simulated network."""
        assert self.wires is not None
        await self.wires.dial(sock, address)

    async def create_connection(self, factory: Any, **options: Any) -> Any:  # type: ignore[override]
        """Wrap a socket of the simulated network; TLS is taken as done."""
        assert self.wires is not None
        tls = options.get("ssl") is not None
        return await self.wires.attach(factory, options["sock"], tls=tls)

    def bury(self, place: Place | None = None) -> list[asyncio.Task[Any]]:
        """Return the unfinished tasks of a dead process, or all, silenced for ever.

        Whoever gets them keeps them until the end: collected earlier, their ``finally``
        clauses would run, which a killed process never does.
        """
        tasks = [
            task
            for task in asyncio.all_tasks(self)
            if place is None or self.owners.get(task) is place
        ]
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return tasks
