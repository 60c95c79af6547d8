"""What an asynchronous producer writes, in one thread; what comes together is committed together.

A transaction is one function in that thread, over the synchronous driver (see
docs/decisions/0004-the-daemon-writes-in-a-thread.md).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine

from mailqueue.client.certain import Certainty
from mailqueue.client.producer import Producer
from mailqueue.errors import OutboxError
from mailqueue.outbox.enqueue import Draft, Receipt
from mailqueue.outbox.faults import translating
from mailqueue.outbox.outcome import carry_out
from mailqueue.outbox.writing import WriteConnection

T = TypeVar("T")
Outcome: TypeAlias = "list[Receipt] | BaseException"
GROUP: Final = 500
"""Calls that share a transaction at most: other processes wait for the write lock meanwhile."""


class Writer:
    """Commits at once what comes alone; what comes during a commit forms the next one.

    It belongs to one event loop. After `close` it can be used again.
    """

    def __init__(self, engine: Engine, producer: Producer, wait: float) -> None:
        self._engine = engine
        self._writing = (
            WriteConnection(engine, patience=wait) if producer.path is not None else None
        )
        self._producer = producer
        self._certainty = Certainty(engine, producer.clock, wait)
        self._thread: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._waiting: list[_Call] = []
        self._idle = asyncio.Event()
        self._idle.set()

    async def store(self, drafts: list[Draft]) -> list[Receipt]:
        """Store ``drafts``, all or none, and return their receipts once that is committed.

        Raises like `Producer.store`, for what is wrong with these drafts and not with others of
        the same transaction. A caller that is cancelled stays until its transaction has ended.
        """
        self._notice_fork()
        loop = asyncio.get_running_loop()
        call = _Call(drafts, loop.create_future())
        self._waiting.append(call)
        if self._idle.is_set():
            self._begin(loop)
        return await call.outcome()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction of its own, between two of those of `store`."""
        self._notice_fork()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor(), self._in_transaction, work)
        return await to_its_end(running)

    async def close(self) -> None:
        """Wait for what is under way, and close the connection; harmless when repeated."""
        await self._idle.wait()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    def _close(self) -> None:
        if self._writing is not None:
            self._writing.close()
        self._engine.dispose()

    def _notice_fork(self) -> None:
        """In the child of a fork: forget the thread and the connection, which are the parent's."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        self._thread, self._waiting, self._idle = None, [], asyncio.Event()
        self._idle.set()
        # Closing it here would disturb the parent, who goes on using it.
        if self._writing is not None:
            self._writing.abandon()
        self._engine.dispose(close=False)

    def _executor(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mailqueue-producer")
        return self._thread

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        try:
            committing = self._executor().submit(self._commit, calls)
        except Exception as error:  # noqa: BLE001 - no thread could be begun; nobody may wait for it
            self._idle.set()
            for call in calls:
                call.settle(error)
            return
        self._idle.clear()
        committing.add_done_callback(partial(self._tell, loop, calls))

    def _tell(
        self, loop: asyncio.AbstractEventLoop, calls: list[_Call], done: Future[list[Outcome]]
    ) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, loop, calls, done)

    def _end(
        self, loop: asyncio.AbstractEventLoop, calls: list[_Call], done: Future[list[Outcome]]
    ) -> None:
        error = done.exception()
        outcomes = done.result() if error is None else [error] * len(calls)
        # Before anybody is told, so that the thread works while the callers go on.
        if self._waiting:
            self._begin(loop)
        else:
            self._idle.set()
        for call, outcome in zip(calls, outcomes, strict=True):
            call.settle(outcome)

    def _commit(self, calls: list[_Call]) -> list[Outcome]:
        try:
            return self._together(calls)
        except OutboxError as error:
            return [error] * len(calls)
        except Exception as error:  # noqa: BLE001 - whoever it is of gets it
            if len(calls) == 1:
                return [error]
        return self._one_by_one(calls)

    def _together(self, calls: list[_Call]) -> list[Outcome]:
        drafts = [draft for call in calls for draft in call.drafts]
        receipts = iter(self._stored(drafts))
        return [list(islice(receipts, len(call.drafts))) for call in calls]

    def _stored(self, drafts: list[Draft]) -> list[Receipt]:
        if self._producer.path is None:
            return self._producer.store_for_certain(self._certainty, drafts)
        return self._in_transaction(
            partial(self._producer.store, drafts=drafts), committed=self._producer.ring
        )

    def _one_by_one(self, calls: list[_Call]) -> list[Outcome]:
        """Try again, after an error that is of one call or another, and find out of which."""
        try:
            if self._producer.path is None:
                with translating(self._producer.url):
                    return self._certainty.commit(partial(self._each, calls), _receipts)
            return self._in_transaction(partial(self._each, calls), committed=self._producer.ring)
        except OutboxError as error:
            return [error] * len(calls)

    def _each(self, calls: list[_Call], connection: Connection) -> list[Outcome]:
        outcomes = [self._alone(connection, call) for call in calls]
        if self._producer.path is None:
            self._producer.ring_after_commit(connection)
        return outcomes

    def _alone(self, connection: Connection, call: _Call) -> Outcome:
        """Store what one call brought; an error of its own undoes that much and no more."""
        try:
            with translating(self._producer.url), connection.begin_nested():
                return self._producer.store(connection, call.drafts)
        except OutboxError:
            raise
        except Exception as error:  # noqa: BLE001 - told to the one whom it concerns
            return error

    def _in_transaction(
        self, work: Callable[[Connection], T], *, committed: Callable[[], object] | None = None
    ) -> T:
        with translating(self._producer.url):
            if self._writing is None:
                return carry_out(self._engine, work)
            with self._writing.begin(committed) as connection:
                return work(connection)


def _receipts(outcomes: list[Outcome]) -> Iterator[Receipt]:
    for outcome in outcomes:
        if not isinstance(outcome, BaseException):
            yield from outcome


@dataclass(slots=True, eq=False)
class _Call:
    drafts: list[Draft]
    future: asyncio.Future[list[Receipt]]
    is_settled: bool = False
    left: asyncio.Future[None] | None = None
    """What a cancelled caller waits for."""

    async def outcome(self) -> list[Receipt]:
        try:
            return await self.future
        except asyncio.CancelledError:
            if not self.is_settled:
                self.left = self.future.get_loop().create_future()
                await self.left
            raise

    def settle(self, outcome: Outcome) -> None:
        self.is_settled = True
        if self.left is not None and not self.left.done():
            self.left.set_result(None)
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


async def to_its_end(transaction: asyncio.Future[T]) -> T:
    """Await ``transaction``, and if cancelled meanwhile, first let it commit or roll back.

    SQL that runs is not stopped by a cancelled await: it would be left to a connection
    that nobody waits for, with the write lock in its hand.
    """
    try:
        return await asyncio.shield(transaction)
    except asyncio.CancelledError:
        await asyncio.wait([transaction])
        if not transaction.cancelled():
            transaction.exception()  # looked at, so that asyncio does not report it as lost
        raise
