"""The producer's door to an outbox, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
)
from sqlalchemy.util import greenlet_spawn

from mailqueue.client.access import AsyncAccess
from mailqueue.client.cancellation import Cancellation
from mailqueue.client.certain import Certainty, sleep_in_loop
from mailqueue.client.configured import read_configuration
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing, Sendable, Wishes
from mailqueue.client.producer import Producer
from mailqueue.client.writer import Writer, to_its_end
from mailqueue.clock import Clock
from mailqueue.failpoint import reach
from mailqueue.outbox.engine import BUSY_TIMEOUT
from mailqueue.outbox.enqueue import Draft, Receipt
from mailqueue.outbox.faults import translating
from mailqueue.outbox.lookup import MessageStatus
from mailqueue.outbox.moment import clock_for
from mailqueue.outbox.outcome import carry_out, look

T = TypeVar("T")
AsyncTransaction: TypeAlias = "AsyncConnection | AsyncSession | async_scoped_session[Any]"
"""What an asynchronous application holds its transaction in."""


class AsyncOutbox:
    """`Outbox`, awaited: the same verbs, rules and errors.

    ``place`` is a URL, a path or the application's `sqlalchemy.ext.asyncio.AsyncEngine`. It belongs
    to one event loop; close it before that ends, with `close` or ``async with``. A verb that is
    cancelled ends when its transaction has: whether that was committed, `status` or the
    same idempotency key tells.

    On an engine of its own, calls of `enqueue` that come while another is being committed share
    the next commit. An error of one is none of the others'.
    """

    def __init__(
        self,
        place: str | URL | PathLike[str] | AsyncEngine,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
        notify: bool = True,
    ) -> None:
        self._access = AsyncAccess(place, busy_timeout)
        self._producer = Producer(
            self._access.url,
            limits=limits or Limits(),
            clock=clock or clock_for(self._access.url),
            notify=notify,
        )
        write = self._access.write
        self._writer = (
            Writer(write, self._producer, busy_timeout) if isinstance(write, Engine) else None
        )

    @classmethod
    def from_config(cls, path: Path | str | None = None, *, clock: Clock | None = None) -> Self:
        """Return the outbox that the configuration names, as `Outbox.from_config` does."""
        database, limits = read_configuration(path)
        return cls(
            database.url,
            limits=limits,
            clock=clock,
            busy_timeout=database.busy_timeout,
            notify=database.notify,
        )

    async def enqueue(
        self,
        message: Sendable | Outgoing,
        *,
        connection: AsyncTransaction | None = None,
        **wishes: Unpack[Wishes],
    ) -> Receipt:
        """Store ``message`` and return its receipt, as `Outbox.enqueue` does."""
        if self._producer.is_out_of_time:
            await self._look_at_clock(connection)
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
        if self._producer.is_out_of_time:
            await self._look_at_clock(connection)
        return await self._store(self._producer.drafts(messages), connection)

    async def status(
        self, message: int, *, connection: AsyncTransaction | None = None
    ) -> MessageStatus:
        """Return how the message of this receipt id stands; raises `UnknownMessageError`."""
        return await self._do(
            lambda known: self._producer.status(known, message), connection, reads=True
        )

    async def cancel(
        self, message: int, *, reason: str = "", connection: AsyncTransaction | None = None
    ) -> Cancellation:
        """Cancel what still waits of the message, as `Outbox.cancel` does."""
        return await self._do(
            lambda known: self._producer.cancel(known, message, reason), connection
        )

    async def create(self) -> None:
        """Create the tables where there are none, as `Outbox.create` does."""
        await self._access.create()

    async def close(self) -> None:
        """Close the connections; harmless when repeated."""
        if self._writer is not None:
            await self._writer.close()
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

    async def _look_at_clock(self, given: AsyncTransaction | None) -> None:
        """See that what is drafted next is dated by the server's clock, not by this host's."""
        await self._do(self._producer.look_at_clock, given, reads=True)

    async def _store(
        self, drafts: list[Draft], connection: AsyncTransaction | None
    ) -> list[Receipt]:
        if not drafts:
            return []
        if connection is None and self._writer is not None:
            await self._access.prepare()
            receipts = await self._writer.store(drafts)
        elif connection is None and self._producer.path is None:
            receipts = await self._store_in_callers_engine(drafts)
        else:
            receipts = await self._do(
                lambda known: self._producer.store_and_ring(known, drafts), connection
            )
        if connection is None:
            reach("after", "enqueue-commit")
        return receipts

    async def _store_in_callers_engine(self, drafts: list[Draft]) -> list[Receipt]:
        await self._access.prepare()
        engine = self._access.write
        assert isinstance(engine, AsyncEngine)
        certainty = Certainty(
            engine.sync_engine,
            self._producer.clock,
            self._access.busy_timeout,
            is_own=False,
            sleep=sleep_in_loop,
        )
        # One and the same function as in `Outbox`: what it does with the engine is awaited.
        storing = greenlet_spawn(self._producer.store_for_certain, certainty, drafts)
        return await to_its_end(asyncio.ensure_future(storing))

    async def _do(
        self,
        work: Callable[[Connection], T],
        given: AsyncTransaction | None,
        *,
        reads: bool = False,
    ) -> T:
        if given is not None:
            with translating(self._access.url, callers_transaction=True):
                callers = await _connection(given)
                return await callers.run_sync(self._producer.join, work)
        await self._access.prepare()
        engine = self._access.read if reads else self._access.write
        if isinstance(engine, AsyncEngine):
            run = look if reads else carry_out
            return await to_its_end(asyncio.ensure_future(self._in_own(engine, work, run)))
        assert self._writer is not None
        return await self._writer.run(work)

    async def _in_own(
        self,
        engine: AsyncEngine,
        work: Callable[[Connection], T],
        run: Callable[[Engine, Callable[[Connection], T]], T],
    ) -> T:
        with translating(self._access.url):
            return await greenlet_spawn(run, engine.sync_engine, work)


async def _connection(given: AsyncTransaction) -> AsyncConnection:
    if isinstance(given, AsyncConnection):
        return given
    if isinstance(given, AsyncSession | async_scoped_session):
        return await given.connection()
    raise TypeError(
        "connection= takes a sqlalchemy AsyncConnection or AsyncSession (and in Outbox a "
        f"Connection or Session), not {type(given).__name__}"
    )
