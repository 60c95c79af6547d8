"""How an outbox is reached: its engines, and its creation at the first use."""

from __future__ import annotations

import asyncio
import os
import threading
from os import PathLike
from typing import Final

from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from mailqueue.client.creation import ensure
from mailqueue.errors import OutboxError
from mailqueue.outbox.engine import (
    async_read_engine,
    read_engine,
    write_engine,
)
from mailqueue.outbox.location import database_path, parse_url
from mailqueue.outbox.writing import WriteConnection


class Access:
    """The engines of an `Outbox`: its own ones for a URL, or the application's.

    ``writing``: what a SQLite file of the outbox's own is written with, instead of ``write``.
    """

    _process: int
    _lock: threading.Lock
    _is_prepared: bool

    def __init__(self, place: str | URL | PathLike[str] | Engine, busy_timeout: float) -> None:
        self.busy_timeout: Final = busy_timeout
        self._own: tuple[Engine, ...] = ()
        self.writing: WriteConnection | None = None
        if isinstance(place, Engine):
            self.url, self.write, self.read = place.url, place, place
        elif isinstance(place, AsyncEngine):
            raise OutboxError("Outbox does not take an AsyncEngine; AsyncOutbox does")
        else:
            self.url = _absolute(place)
            self.write = write_engine(self.url, busy_timeout=busy_timeout)
            self.read = read_engine(self.url, busy_timeout=busy_timeout)
            self._own = (self.write, self.read)
            if self.write.dialect.name == "sqlite":
                self.writing = WriteConnection(self.write, patience=busy_timeout)
        self._begin_process()

    @property
    def is_own(self) -> bool:
        """Whether nobody but the outbox uses its engines."""
        return bool(self._own)

    def prepare(self) -> None:
        """Before each use: see to it, once, that the outbox is there. Raises `OutboxError`."""
        if self._process != os.getpid():
            # The parent goes on using the connections; closing them here would disturb it.
            if self.writing is not None:
                self.writing.abandon()
            for engine in self._own:
                engine.dispose(close=False)
            self._begin_process()
        if self._is_prepared:
            return
        with self._lock:
            if not self._is_prepared:
                ensure(self.url, busy_timeout=self.busy_timeout)
                self._is_prepared = True

    def create(self) -> None:
        """Create the tables, also in a database that holds other ones."""
        ensure(self.url, busy_timeout=self.busy_timeout, among_others=True)

    def close(self) -> None:
        """Close the outbox's own connections; an application's engine is left alone."""
        if self.writing is not None:
            self.writing.close()
        for engine in self._own:
            engine.dispose()

    def _begin_process(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_prepared = False


class AsyncAccess:
    """The engines of an `AsyncOutbox`, in one event loop.

    ``write`` is a synchronous one unless it is the application's: see `Writer`, which closes it.
    """

    def __init__(self, place: str | URL | PathLike[str] | AsyncEngine, busy_timeout: float) -> None:
        self.busy_timeout: Final = busy_timeout
        self._own: tuple[AsyncEngine, ...] = ()
        self.write: AsyncEngine | Engine
        if isinstance(place, AsyncEngine):
            self.url, self.write, self.read = place.url, place, place
        elif isinstance(place, Engine):
            raise OutboxError("AsyncOutbox takes an AsyncEngine; Outbox takes an Engine")
        else:
            self.url = _absolute(place)
            self.read = async_read_engine(self.url, busy_timeout=busy_timeout)
            self.write = write_engine(self.url, busy_timeout=busy_timeout)
            self._own = (self.read,)
        self._lock = asyncio.Lock()
        self._is_prepared = False
        self._process = os.getpid()

    async def prepare(self) -> None:
        """Before each use: see to it, once, that the outbox is there. Raises `OutboxError`."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), asyncio.Lock()
            for engine in self._own:
                # The parent goes on using the connections, and their threads are its alone.
                engine.sync_engine.dispose(close=False)
        if self._is_prepared:
            return
        async with self._lock:
            if not self._is_prepared:
                await asyncio.to_thread(ensure, self.url, busy_timeout=self.busy_timeout)
                self._is_prepared = True

    async def create(self) -> None:
        """Create the tables, also in a database that holds other ones."""
        await asyncio.to_thread(ensure, self.url, busy_timeout=self.busy_timeout, among_others=True)

    async def close(self) -> None:
        """Close the outbox's own asynchronous connections; an application's are left alone."""
        for engine in self._own:
            await engine.dispose()


def _absolute(place: str | URL | PathLike[str]) -> URL:
    """Return the URL of ``place``, the same file wherever the process goes later."""
    known = parse_url(place)
    path = database_path(known)
    return known if path is None else URL.create("sqlite", database=str(path))
