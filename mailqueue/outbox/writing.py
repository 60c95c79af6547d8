"""The connection that a SQLite outbox of our own is written with, kept between transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from types import TracebackType
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import TimeoutError as NoTurnError

from mailqueue.errors import OutboxError
from mailqueue.outbox.checkpoint import checkpoint
from mailqueue.outbox.doorbell import ring_if_asked, ring_not
from mailqueue.outbox.flush import Flush
from mailqueue.outbox.location import opened_path
from mailqueue.outbox.recipe import BEGIN, begin_by_hand, begin_by_itself, sqlite_driver
from mailqueue.outbox.turnstile import Turnstile


class WriteConnection:
    """Lends the one connection that ``engine`` has to one transaction after the other.

    To take it from the pool, begin, and put it back costs SQLAlchemy more than SQLite needs to
    store a mail. So SQLAlchemy is told once that it has begun; BEGIN and COMMIT are given to the
    driver, and no event tells of them. Threads take turns, and wait ``patience`` seconds;
    processes stand in line at a `Turnstile` before they ask SQLite.

    A commit does not wait for the disk while it holds SQLite's write lock: the log is flushed
    behind it, when others can write already, and before anybody is told that all is stored. See
    docs/decisions/0060-flushed-behind-the-lock.md. ``flushes_behind``: False where a disk that
    fails must take back the commit, for who would do it again.
    """

    def __init__(self, engine: Engine, *, patience: float, flushes_behind: bool = True) -> None:
        self.engine: Final = engine
        self.patience: Final = patience
        self._flushes_behind = flushes_behind
        self._turn = Lock()
        self._kept: _Kept | None = None

    def begin(self, committed: Callable[[], object] | None = None) -> Transaction:
        """Return the transaction to be entered; it gives the connection.

        When it is left, all is on the disk; after an error in its block nothing is kept.
        ``committed`` is called when others can see it, which is a little earlier: what they make
        of it comes behind it in the log, and is on the disk no sooner. Raises `OutboxError` and
        what the driver raises.
        """
        return Transaction(self, committed)

    @contextmanager
    def between(self) -> Iterator[Connection]:
        """Lend the connection while it is in no transaction."""
        kept = self.lend()
        try:
            yield kept.connection
        finally:
            self.take_back(kept)

    def bring_to_disk(self, flush: Flush) -> None:
        """Flush the log; where its disk fails, move what is in it into the database file instead.

        What could not be flushed may be lost to the disk for ever while the system has it in
        memory, and later flushes succeed: a log with a hole, behind which SQLite would read nothing
        after a loss of power. Raises `OutboxError` where the database file's disk fails too.
        """
        try:
            flush()
        except OutboxError:
            # Twice: the system tells SQLite of the error as well, once.
            if not (self._is_moved() or self._is_moved()):
                raise

    def _is_moved(self) -> bool:
        with suppress(sqlite3.Error, NoTurnError), self.between() as connection:
            return checkpoint(connection).is_whole
        return False

    def close(self) -> None:
        """Give the connection back, when it is not lent; a later use takes it out again."""
        with self._turn:
            kept, self._kept = self._kept, None
            if kept is not None:
                kept.close()

    def abandon(self) -> None:
        """In the child of a fork: leave the connection, which is the parent's, as it is."""
        if self._kept is not None:
            self._kept.abandon()
        _abandoned.append(self._kept)
        self._kept = None
        self._turn = Lock()

    def lend(self) -> _Kept:
        """Wait for the turn, and return the connection, in no transaction yet."""
        if not self._turn.acquire(timeout=self.patience):
            raise NoTurnError(f"another thread has been writing for {self.patience} seconds")
        try:
            if self._kept is None:
                self._kept = _Kept.of(self.engine, flushes_behind=self._flushes_behind)
            return self._kept
        except BaseException:
            self._turn.release()
            raise

    def take_back(self, kept: _Kept) -> None:
        """Let the next one have its turn."""
        if kept.connection.invalidated:
            kept.abandon()
            self._kept = None
        self._turn.release()


class Transaction:
    """One transaction of a `WriteConnection`, used with ``with``, once."""

    __slots__ = ("_committed", "_kept", "_writing")

    def __init__(self, writing: WriteConnection, committed: Callable[[], object] | None) -> None:
        self._writing = writing
        self._committed = committed
        self._kept: _Kept

    def __enter__(self) -> Connection:
        """Begin when it is our turn, which takes SQLite's write lock."""
        kept = self._kept = self._writing.lend()
        try:
            kept.begin(self._writing.patience)
        except BaseException:
            self._writing.take_back(kept)
            raise
        return kept.connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit, and return when that is on the disk; or roll back."""
        kept = self._kept
        try:
            if kind is not None:
                kept.roll_back()
                return
            try:
                kept.commit()
            except BaseException:
                kept.roll_back()
                raise
            ring_if_asked(kept.connection)
        finally:
            self._writing.take_back(kept)
        if self._committed is not None:
            self._committed()
        if kept.flush is not None:
            self._writing.bring_to_disk(kept.flush)


class _Kept:
    """A connection out of the pool, its driver, what lets it have its turn among processes, and
    what flushes its log if commits do not.
    """

    __slots__ = ("_has_turn", "_turnstile", "connection", "driver", "flush")

    def __init__(
        self,
        connection: Connection,
        driver: sqlite3.Connection,
        turnstile: Turnstile | None,
        flush: Flush | None,
    ) -> None:
        self.connection = connection
        self.driver = driver
        self.flush = flush
        self._turnstile = turnstile
        self._has_turn = False

    @classmethod
    def of(cls, engine: Engine, *, flushes_behind: bool) -> _Kept:
        connection = engine.connect()
        try:
            driver = sqlite_driver(connection)
            assert driver is not None
            begin_by_hand(connection)
            path = opened_path(connection)
            flush = Flush.of(path) if flushes_behind and path is not None else None
            if flush is not None:
                driver.execute("PRAGMA synchronous=NORMAL")
            turnstile = None if path is None else Turnstile.of(path)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return cls(connection, driver, turnstile, flush)

    def begin(self, patience: float) -> None:
        if self._turnstile is not None:
            self._has_turn = self._turnstile.enter(patience)
        try:
            self.driver.execute(BEGIN)
        except BaseException:
            self._leave()
            raise

    def commit(self) -> None:
        self.driver.commit()
        self._leave()

    def roll_back(self) -> None:
        ring_not(self.connection)
        # SQLite may have done it already, and what went wrong with it has been told.
        with suppress(sqlite3.Error):
            self.driver.rollback()
        self._leave()

    def _leave(self) -> None:
        if self._has_turn and self._turnstile is not None:
            self._has_turn = False
            self._turnstile.leave()

    def abandon(self) -> None:
        if self._turnstile is not None:
            self._turnstile.close()
            self._turnstile = None

    def close(self) -> None:
        self.abandon()
        if self.connection.invalidated:
            self.connection.close()
            return
        # Whoever gets it from the pool begins as usual, and flushes nothing by himself.
        self.driver.execute("PRAGMA synchronous=FULL")
        begin_by_itself(self.connection)
        self.connection.close()


_abandoned: list[object] = []
"""Never closed: that would end what the parent has under way on the same file."""
