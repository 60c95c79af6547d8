"""A daemon of the simulation: the real one, as a process that can be killed, stopped or frozen."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Engine

from mailqueue import assembly
from mailqueue.clock import Clock
from mailqueue.config import Loaded
from mailqueue.daemon.janitor import DiskFloor
from mailqueue.daemon.supervisor import Supervisor
from mailqueue.errors import OutboxError
from mailqueue.events import Event
from tests.simulation.database import Disk, InlineDatabase
from tests.simulation.loop import Place, VirtualLoop

Told = Callable[["DaemonProcess", Event], None]


@dataclass(frozen=True, slots=True)
class _SimulatedFloor(DiskFloor):
    """Asks the simulated disk how much is free."""

    disk: Disk

    def free(self) -> int:
        """Return the bytes free."""
        return 0 if self.disk.is_low else self.floor


@dataclass(frozen=True, slots=True)
class Machine:
    """What all processes share: the loop, the outbox's engine, its file and its disk."""

    loop: VirtualLoop
    engine: Engine
    path: Path
    disk: Disk
    committed: Callable[[], None]
    """Called after each transaction of a daemon that changed something."""


class DaemonProcess(Place):
    """Runs from its making until it has ended, one way or the other."""

    def __init__(
        self, name: str, machine: Machine, loaded: Loaded, *, clock: Clock, told: Told
    ) -> None:
        super().__init__(name)
        self.worker = ""
        self.most_at_once: int | None = None
        """How many connections with one relay it may use; None after a reload changed that."""
        self.stop_asked_at: float | None = None
        self.thawed_at = float("-inf")
        self.failure: OutboxError | None = None
        """Why it could not start."""
        self.supervisor: Supervisor | None = None
        self._machine = machine
        self._loaded = loaded
        self._clock = clock
        self._told = told
        self._graves: list[asyncio.Task[Any]] = []
        self._running = machine.loop.create_task(self._run(), context=self.inside())

    @property
    def is_running(self) -> bool:
        """Whether it is neither dead nor ended; a frozen one runs."""
        return not (self.is_dead or self._running.done())

    @property
    def under_way(self) -> int:
        """How many deliveries it has begun."""
        return 0 if self.supervisor is None else self.supervisor.parts.dispatcher.in_flight

    @property
    def stop_heard_at(self) -> float | None:
        """When it heard SIGTERM, in the seconds of the loop: if frozen, as it woke up."""
        return None if self.stop_asked_at is None else max(self.stop_asked_at, self.thawed_at)

    def has_share(self, host: str) -> bool:
        """Whether it is awake, and its share of the relay at this host lasts."""
        if self.supervisor is None or self.is_frozen or not self.is_running:
            return False
        return any(
            route.settings.host == host
            and route.tenure is not None
            and route.tenure.is_to_come(self._clock)
            for route in self.supervisor.parts.routing.routes
        )

    def ring(self) -> None:
        """Let it know that a producer has enqueued."""
        if self.supervisor is not None:
            self.supervisor.parts.dispatcher.wake.ring()

    def stop(self) -> None:
        """Send it SIGTERM."""
        if self.supervisor is not None and self.stop_asked_at is None:
            self.stop_asked_at = self._machine.loop.time()
            self.supervisor.stop("SIGTERM")

    def reload(self, loaded: Loaded) -> None:
        """Give it another configuration, and SIGHUP."""
        self._loaded = loaded
        self.most_at_once = None
        if self.supervisor is not None and self.supervisor.started.is_set():
            with self._simulated():
                self.inside().run(self.supervisor.reload)

    def kill(self) -> None:
        """Send it SIGKILL: nothing of it runs any more, and the kernel frees its lock."""
        self.is_dead = True
        self._graves = self._machine.loop.bury(self)
        lock = self.supervisor and self.supervisor.parts.lock
        if lock and lock._descriptor is not None:
            os.close(lock._descriptor)
            lock._descriptor = None

    def freeze(self) -> None:
        """Send it SIGSTOP."""
        self.is_frozen = True

    def wake_up(self) -> None:
        """Send it SIGCONT."""
        if self.is_frozen:
            self.thawed_at = self._machine.loop.time()
            self.thaw(self._machine.loop)

    async def ended(self) -> None:
        """Return when it has ended by itself."""
        await asyncio.wait([self._running])

    async def _run(self) -> None:
        self.supervisor = self._assemble()
        self.worker = self.supervisor.parts.worker
        try:
            await self.supervisor.run()
        except OutboxError as error:
            self.failure = error

    def _assemble(self) -> Supervisor:
        with self._simulated():
            return assembly.assemble(
                self._loaded,
                reload=lambda: self._loaded,
                clock=self._clock,
                emit=lambda event: self._told(self, event),
            )

    @contextlib.contextmanager
    def _simulated(self) -> Iterator[None]:
        """Put in place of threads, disks, and sockets that are files, what stays in here."""
        with contextlib.ExitStack() as stack:
            for name, simulated in (
                ("Database", self._database),
                ("Doorbell", lambda *_, **__: None),
                ("DiskFloor", self._floor),
            ):
                stack.enter_context(mock.patch.object(assembly, name, simulated))
            yield

    def _database(self, *_: object, **__: object) -> InlineDatabase:
        machine = self._machine
        return InlineDatabase(machine.engine, machine.disk, machine.committed)

    def _floor(self, directory: Path, floor: int) -> DiskFloor:
        return _SimulatedFloor(directory, floor, self._machine.disk)
