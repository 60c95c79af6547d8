"""The daemon's door to the outbox: one transaction at a time to write, another way to read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from mailqueue.clock import Clock
from mailqueue.daemon.hangup import Hangup
from mailqueue.daemon.precedence import precedence
from mailqueue.errors import OutboxReadOnlyError
from mailqueue.failpoint import reach
from mailqueue.outbox.checkpoint import Checkpoint, checkpoint
from mailqueue.outbox.engine import async_read_engine, write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import database_path
from mailqueue.outbox.moment import ServerClock
from mailqueue.outbox.outcome import carry_out
from mailqueue.outbox.writing import WriteConnection

T = TypeVar("T")


def _busy() -> bool:
    """Stand in until somebody knows what the loop is doing."""
    return True


class Database:
    """Runs plain functions over a connection, each call in a transaction of its own."""

    def __init__(self, url: str, *, busy_timeout: float, clock: Clock | None = None) -> None:
        self.url = url
        self._clock = clock if isinstance(clock, ServerClock) else None
        self._is_file = database_path(url) is not None
        self._writer = write_engine(url, busy_timeout=busy_timeout)
        self._kept = (
            WriteConnection(self._writer, patience=busy_timeout, flushes_behind=False)
            if self._is_file
            else None
        )
        self._reader = async_read_engine(url, busy_timeout=busy_timeout)
        # A whole transaction runs as one function in one thread: over an asynchronous
        # driver each of its statements would cost several hops between threads (see
        # docs/decisions/0004-the-daemon-writes-in-a-thread.md).
        self._thread = ThreadPoolExecutor(1, "mailqueue-writer")
        self.is_loop_busy: Callable[[], bool] = _busy
        """Asked before each transaction whether the loop is to stand aside in it."""

    async def write(self, work: Callable[[Connection], T], /) -> T:
        """Run ``work`` in the writer's thread; return its value once that is committed.

        Raises `OutboxError` where the database refuses, and what ``work`` raises; in both cases
        nothing is kept of it, but for an `OutcomeUnknownError`, which bears what ``work`` had
        returned. A cancelled call may still be committed.
        """
        loop = asyncio.get_running_loop()
        if self._is_file:
            if self.is_loop_busy():
                work = self._first(work, loop)
            return await loop.run_in_executor(self._thread, self._write, work)
        hangup = Hangup()
        with hangup.watch():
            watched = self._watched(work, hangup)
            return await loop.run_in_executor(self._thread, self._write, watched)

    @staticmethod
    def _first(
        work: Callable[[Connection], T], loop: asyncio.AbstractEventLoop
    ) -> Callable[[Connection], T]:
        """Return ``work`` for a file, whose only lock is held while it runs."""

        def first(connection: Connection) -> T:
            with precedence(loop):
                return work(connection)

        return first

    def _write(self, work: Callable[[Connection], T]) -> T:
        def to_be_committed(connection: Connection) -> T:
            value = work(connection)
            reach("before", "commit")
            return value

        try:
            with translating(self.url):
                value = self._carry_out(to_be_committed)
        except OutboxReadOnlyError:
            # A server that has become a standby: the next connection may lead to the new primary.
            self._writer.dispose()
            raise
        reach("after", "commit")
        return value

    def _carry_out(self, work: Callable[[Connection], T]) -> T:
        if self._kept is None:
            return carry_out(self._writer, work)
        with self._kept.begin() as connection:
            return work(connection)

    async def read(self, work: Callable[[Connection], T], /) -> T:
        """Run ``work`` over a snapshot, beside any writer. Raises like `write`.

        A cancelled call ends when its statement has: the thread that carries it out would come
        back to a loop that may be closed by then.
        """
        reading = asyncio.ensure_future(self._read(work))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.exception()  # looked at, so that asyncio does not report it as lost
            raise

    async def _read(self, work: Callable[[Connection], T]) -> T:
        if self._is_file:
            return await self._look(work)
        hangup = Hangup()
        with hangup.watch():
            return await self._look(self._watched(work, hangup))

    def _watched(
        self, work: Callable[[Connection], T], hangup: Hangup
    ) -> Callable[[Connection], T]:
        """Return ``work`` for a server: it may fall silent, and has a clock of its own."""

        def watched(connection: Connection) -> T:
            hangup.at_work(connection)
            if self._clock is not None:
                self._clock.look(connection)
            return work(connection)

        return watched

    async def _look(self, work: Callable[[Connection], T]) -> T:
        with translating(self.url):
            async with self._reader.begin() as connection:
                return await connection.run_sync(work)

    async def checkpoint(self) -> Checkpoint:
        """Move the log into the database file, between two transactions of the writer."""
        if not self._is_file:
            return Checkpoint(busy=False, log=0, checkpointed=0)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        assert self._kept is not None
        with translating(self.url), self._kept.between() as connection:
            return checkpoint(connection)

    async def close(self) -> None:
        """Close every connection; the threads behind them end."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        await self._reader.dispose()

    def _close(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._writer.dispose()
