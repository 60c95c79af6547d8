"""The daemon's door to the outbox, without a thread: real SQLite, and faults on demand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from mailqueue.errors import OutboxBusyError, OutboxError, OutboxFullError, OutcomeUnknownError
from mailqueue.outbox.checkpoint import Checkpoint, checkpoint
from mailqueue.outbox.faults import translating
from tests.simulation.loop import here

T = TypeVar("T")


@dataclass(slots=True)
class Disk:
    """What the file and its disk do to everybody who works on them at present."""

    chance: random.Random = field(repr=False)
    busy: float = 0.0
    """How likely a transaction finds the database locked for too long."""
    unknown: float = 0.0
    """How likely nobody hears what became of a commit, or hears that it failed when it did not."""
    slowness: float = 0.02
    """Seconds that a transaction takes on average."""
    is_full: bool = False
    is_low: bool = False
    has_changed: bool = field(default=False, repr=False)
    """Whether the last transaction wrote anything."""
    met: set[str] = field(default_factory=set, repr=False)
    """What has really happened to somebody."""

    def mend(self) -> None:
        """End all of that."""
        self.busy = self.unknown = 0.0
        self.is_full = self.is_low = False
        self.slowness = 0.02

    def before(self) -> None:
        """Raise where the transaction cannot even begin."""
        self.has_changed = False
        if self.chance.random() < self.busy:
            self.met.add("busy database")
            raise OutboxBusyError("somebody else is writing")

    def at_commit(self, connection: Connection, value: object) -> None:
        """Raise where it is not carried out: for want of room, or as lost on its way."""
        self.has_changed = _has_written(connection)
        if self.is_full and self.has_changed:
            self.met.add("full disk")
            raise OutboxFullError("there is no space left")
        if self.unknown and self.chance.random() < self.unknown / 3:
            self.has_changed = False
            self.met.add("commit lost on its way")
            raise OutcomeUnknownError("the connection was lost", value)

    def after(self, value: object) -> None:
        """Raise where nobody is told of the commit, or it is reported as failed."""
        if self.chance.random() < self.unknown:
            self.met.add("commit of unknown outcome")
            if self.chance.random() < 0.5:
                raise OutboxError("disk I/O error")
            raise OutcomeUnknownError("the connection was lost", value)

    def delay(self) -> float:
        """Return how long a transaction waits or takes, in seconds."""
        return self.chance.expovariate(1.0) * self.slowness


def _has_written(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    changes = driver.total_changes
    return bool(changes != connection.info.get("changes"))


class InlineDatabase:
    """Has the face of `mailqueue.daemon.database.Database`.

    Each transaction is carried out at one instant, after a delay, and its outcome is heard after
    another; a process that dies in between never learns of it. As with the thread it stands
    for, cancelling whoever waits does not keep it from being committed.
    """

    def __init__(self, engine: Engine, disk: Disk, committed: Callable[[], None]) -> None:
        self.url = str(engine.url)
        self._engine = engine
        self._disk = disk
        self._committed = committed
        self._free_at = 0.0

    async def write(self, work: Callable[[Connection], T], /) -> T:
        """Run ``work`` when its turn has come; return its value once that is committed."""
        return await self._in_turn(lambda: transact(self._engine, self._disk, work))

    async def read(self, work: Callable[[Connection], T], /) -> T:
        """Run ``work`` over a snapshot."""
        with self._engine.begin() as connection:
            return work(connection)

    async def checkpoint(self) -> Checkpoint:
        """Move the log into the database file."""
        return await self._in_turn(self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        self._disk.before()
        with translating(self._engine.url), self._engine.connect() as connection:
            return checkpoint(connection)

    async def close(self) -> None:
        """Leave the engine to the others."""

    async def _in_turn(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + self._disk.delay()
        done: asyncio.Future[T] = loop.create_future()
        loop.call_at(self._free_at, self._carry_out, work, done)
        return await done

    def _carry_out(self, work: Callable[[], T], done: asyncio.Future[T]) -> None:
        assert (place := here()) is None or not place.is_dead
        try:
            value = work()
        except Exception as error:  # noqa: BLE001 - for whoever waits
            self._later(done, lambda reason=error: done.set_exception(reason))  # type: ignore[misc]
        else:
            self._later(done, lambda: done.set_result(value))
        if self._disk.has_changed:
            self._committed()

    def _later(self, done: asyncio.Future[Any], settle: Callable[[], None]) -> None:
        def tell() -> None:
            if not done.done():
                settle()

        asyncio.get_running_loop().call_later(self._disk.delay(), tell)


def transact(engine: Engine, disk: Disk, work: Callable[[Connection], T]) -> T:
    """Run ``work`` in one transaction, and let the disk do to it what it does at present."""
    disk.before()
    with translating(engine.url), engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        connection.info["changes"] = driver.total_changes
        value = work(connection)
        disk.at_commit(connection, value)
    disk.after(value)
    return value
