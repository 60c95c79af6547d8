"""A producer's own transactions on PostgreSQL: what is returned or raised is the truth.

Whatever is known not to be committed is tried again; what became of a COMMIT whose answer was
lost is looked for. See docs/decisions/0046-a-lost-commit-is-looked-for.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.util import await_only

from mailqueue.clock import Clock
from mailqueue.errors import (
    OutboxBusyError,
    OutboxError,
    OutboxFencedError,
    OutboxReadOnlyError,
    OutcomeUnknownError,
)
from mailqueue.outbox.enqueue import Receipt
from mailqueue.outbox.faults import translating
from mailqueue.outbox.outcome import carry_out, is_stored
from mailqueue.outbox.patience import PATIENCE, Patience

T = TypeVar("T")
_SHORT: Final = Patience(initial=0.005, maximum=1.0)
_ENDED_BY_OTHERS: Final = frozenset({"40001", "40P01"})


def sleep_in_thread(seconds: float) -> None:
    """Let this thread wait."""
    threading.Event().wait(seconds)


def sleep_in_loop(seconds: float) -> None:
    """Let a function wait that runs in SQLAlchemy's `greenlet_spawn`, and the loop go on."""
    await_only(asyncio.sleep(seconds))


@dataclass(frozen=True, slots=True)
class Certainty:
    """Runs transactions on ``engine``.

    ``wait`` seconds are given to one that others, or a lost connection, keep from its commit, and
    as many to finding out what became of it. ``is_own``: nobody else uses the engine.
    """

    engine: Engine
    clock: Clock
    wait: float
    is_own: bool = True
    sleep: Callable[[float], None] = sleep_in_thread

    def commit(
        self,
        work: Callable[[Connection], T],
        receipts: Callable[[T], Iterable[Receipt]],
    ) -> T:
        """Run ``work`` in a transaction and return its value once that is committed.

        ``receipts`` tells which of its value are of messages: one of them is looked for where the
        answer to COMMIT was lost. Raises `OutboxError` where nothing was committed, and
        `OutcomeUnknownError` where even that could not be found out.
        """
        end, tried = self.clock.monotonic() + self.wait, 0
        while True:
            tried += 1
            try:
                return self._attempt(work, receipts)
            except (DBAPIError, OutboxBusyError) as error:
                self._refresh(error)
                if not _may_pass(error) or (tried > 1 and self.clock.monotonic() >= end):
                    raise
            self.sleep(_SHORT.delay(tried, self.clock.random()))

    def _attempt(
        self, work: Callable[[Connection], T], receipts: Callable[[T], Iterable[Receipt]]
    ) -> T:
        try:
            return carry_out(self.engine, work)
        except OutcomeUnknownError as unknown:
            value: Any = unknown.value
            written: T = value
            stored = next((one for one in receipts(written) if not one.duplicate), None)
            if stored is None or self._is_there(stored, unknown):
                return written
            # Gone with the connection, as before a COMMIT.
            cause = unknown.__cause__
            assert isinstance(cause, DBAPIError)
            raise cause from None

    def _is_there(self, receipt: Receipt, unknown: OutcomeUnknownError) -> bool:
        """Look for a message, until the database has answered or the time is up."""
        end, tried = self.clock.monotonic() + self.wait, 0
        is_fenced = False
        while True:
            tried += 1
            left = max(0.0, end - self.clock.monotonic())
            try:
                with translating(self.engine.url), self.engine.connect() as connection:
                    # Whoever puts up a fence has waited for all who were storing something.
                    return is_stored(connection, receipt, wait=None if is_fenced else left)
            except OutboxError as error:
                is_fenced = isinstance(error, OutboxFencedError)
                if left == 0.0:
                    raise OutcomeUnknownError(
                        f"{unknown}, and could not be found out: {error}. Enqueue again with the "
                        f"same idempotency_key, or look for Message-ID {receipt.message_id}",
                        unknown.value,
                    ) from error
                self._refresh(error)
            self.sleep(min(PATIENCE.delay(tried, self.clock.random()), left))

    def _refresh(self, error: Exception) -> None:
        """Leave a server that has become a standby: a new connection may lead to the primary."""
        is_standby = isinstance(error, OutboxReadOnlyError) or _code(error) == "25006"
        if self.is_own and is_standby:
            self.engine.dispose()


def _may_pass(error: Exception) -> bool:
    """Whether nothing was committed, and the same transaction may succeed at once."""
    if isinstance(error, OutboxBusyError):
        # Two processes at once with one new idempotency key: now it is there to be found.
        return isinstance(error.__cause__, IntegrityError)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return _code(error) in _ENDED_BY_OTHERS


def _code(error: Exception) -> str | None:
    code: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return code
