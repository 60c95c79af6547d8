"""The producer's door to an outbox, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
)

from mailqueue.client.access import AsyncAccess
from mailqueue.client.cancellation import Cancellation
from mailqueue.client.configured import read_configuration
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing, Sendable, Wishes
from mailqueue.client.producer import Producer
from mailqueue.clock import Clock, SystemClock
from mailqueue.failpoint import reach
from mailqueue.outbox.engine import BUSY_TIMEOUT
from mailqueue.outbox.enqueue import Draft, Receipt
from mailqueue.outbox.faults import translating
from mailqueue.outbox.lookup import MessageStatus

T = TypeVar("T")
AsyncTransaction: TypeAlias = "AsyncConnection | AsyncSession | async_scoped_session[Any]"
"""What an asynchronous application holds its transaction in."""


class AsyncOutbox:
    """`Outbox`, awaited: the same verbs, rules and errors.

    ``place`` is a URL, a path or the application's `sqlalchemy.ext.asyncio.AsyncEngine`. It belongs
    to one event loop; close it before that ends, with `close` or ``async with``. A verb that is
    cancelled ends when its transaction has: whether that was committed, `status` or the
    same idempotency key tells.
    """

    def __init__(
        self,
        place: str | URL | PathLike[str] | AsyncEngine,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        self._access = AsyncAccess(place, busy_timeout)
        self._producer = Producer(
            self._access.url, limits=limits or Limits(), clock=clock or SystemClock()
        )

    @classmethod
    def from_config(cls, path: Path | str | None = None, *, clock: Clock | None = None) -> Self:
        """Return the outbox that the configuration names, as `Outbox.from_config` does."""
        database, limits = read_configuration(path)
        return cls(database.url, limits=limits, clock=clock, busy_timeout=database.busy_timeout)

    async def enqueue(
        self,
        message: Sendable | Outgoing,
        *,
        connection: AsyncTransaction | None = None,
        **wishes: Unpack[Wishes],
    ) -> Receipt:
        """Store ``message`` and return its receipt, as `Outbox.enqueue` does."""
        draft = self._producer.draft(message, **wishes)
        (receipt,) = await self._store([draft], connection)
        return receipt

    async def enqueue_many(
        self,
        messages: Iterable[Sendable | Outgoing],
        *,
        connection: AsyncTransaction | None = None,
    ) -> list[Receipt]:
        """Store all of ``messages`` or none, as `Outbox.enqueue_many` does."""
        return await self._store(self._producer.drafts(messages), connection)

    async def status(
        self, message: int, *, connection: AsyncTransaction | None = None
    ) -> MessageStatus:
        """Return how the message of this receipt id stands; raises `UnknownMessageError`."""
        return await self._do(
            lambda known: self._producer.status(known, message), connection, self._access.read
        )

    async def cancel(
        self, message: int, *, reason: str = "", connection: AsyncTransaction | None = None
    ) -> Cancellation:
        """Cancel what still waits of the message, as `Outbox.cancel` does."""
        return await self._do(
            lambda known: self._producer.cancel(known, message, reason),
            connection,
            self._access.write,
        )

    async def create(self) -> None:
        """Create the tables where there are none, as `Outbox.create` does."""
        await self._access.create()

    async def close(self) -> None:
        """Close the connections; harmless when repeated."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.close()

    async def _store(
        self, drafts: list[Draft], connection: AsyncTransaction | None
    ) -> list[Receipt]:
        if not drafts:
            return []
        receipts = await self._do(
            lambda known: self._producer.store(known, drafts), connection, self._access.write
        )
        if connection is None:
            reach("after", "enqueue-commit")
        return receipts

    async def _do(
        self,
        work: Callable[[Connection], T],
        given: AsyncTransaction | None,
        engine: AsyncEngine,
    ) -> T:
        if given is not None:
            with translating(self._access.url, callers_transaction=True):
                callers = await _connection(given)
                return await callers.run_sync(self._producer.join, work)
        await self._access.prepare()
        return await _to_its_end(self._in_own(engine, work))

    async def _in_own(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        with translating(self._access.url):
            async with engine.begin() as own:
                return await own.run_sync(work)


async def _to_its_end(transaction: Coroutine[Any, Any, T]) -> T:
    """Await ``transaction``, and if cancelled meanwhile, first let it commit or roll back.

    SQL that runs is not stopped by a cancelled await: it would be left to a connection
    that nobody waits for, with the write lock in its hand.
    """
    running = asyncio.create_task(transaction)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that asyncio does not report it as lost
        raise


async def _connection(given: AsyncTransaction) -> AsyncConnection:
    if isinstance(given, AsyncConnection):
        return given
    if isinstance(given, AsyncSession | async_scoped_session):
        return await given.connection()
    raise TypeError(
        "connection= takes a sqlalchemy AsyncConnection or AsyncSession (and in Outbox a "
        f"Connection or Session), not {type(given).__name__}"
    )
