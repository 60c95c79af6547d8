"""What `Outbox` and `AsyncOutbox` both do, whatever kind of transaction it is done in.

Plain functions of a synchronous connection: asynchronous callers run them with
`AsyncConnection.run_sync`, so that no rule stands in two places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import TypeVar, Unpack

from sqlalchemy import URL, Connection
from sqlalchemy.exc import IntegrityError

from mailqueue.client.cancellation import Cancellation, cancel
from mailqueue.client.certain import Certainty
from mailqueue.client.headroom import Headroom
from mailqueue.client.intake import draft
from mailqueue.client.joining import check_joinable
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing, Sendable, Wishes
from mailqueue.clock import Clock
from mailqueue.errors import OptionError, OutboxBusyError, UnknownMessageError
from mailqueue.failpoint import reach
from mailqueue.outbox.acts import GREATEST_ID
from mailqueue.outbox.doorbell import ring_after_commit, ring_resolved
from mailqueue.outbox.enqueue import Draft, Receipt, enqueue
from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import database_path, describe
from mailqueue.outbox.lookup import MessageStatus, status
from mailqueue.outbox.moment import ServerClock, moment
from mailqueue.outbox.schema import check

T = TypeVar("T")
ACTOR = "producer"
"""Whom the record names for what an application decided."""


class Producer:
    """The rules of one outbox for those who put mail into it."""

    def __init__(self, url: URL, *, limits: Limits, clock: Clock, notify: bool = True) -> None:
        self.url = url
        self._notify = notify
        self.path: Path | None = database_path(url)
        self._limits = limits
        self.clock = clock
        self._headroom = Headroom(limits, clock)
        self._joined_schema_is_known = False

    @property
    def is_out_of_time(self) -> bool:
        """Whether the server's clock is to be looked at before a message is dated."""
        return isinstance(self.clock, ServerClock) and not self.clock.is_fresh

    def look_at_clock(self, connection: Connection) -> None:
        """Look at it."""
        moment(connection, self.clock)

    def draft(self, message: Sendable | Outgoing, **wishes: Unpack[Wishes]) -> Draft:
        """Check and freeze a message, before anything is stored or locked."""
        if not isinstance(message, Outgoing):
            message = Outgoing(message, **wishes)
        elif wishes:
            message = replace(message, **wishes)
        return draft(message, clock=self.clock, limits=self._limits)

    def drafts(self, messages: Iterable[Sendable | Outgoing]) -> list[Draft]:
        """Check and freeze all of ``messages``; an error has a note that tells which it is of."""
        if isinstance(messages, Message | bytes | Outgoing):
            raise TypeError("enqueue_many takes a list of messages; for one there is enqueue")
        drafts: list[Draft] = []
        for number, message in enumerate(messages):
            try:
                drafts.append(self.draft(message))
            except Exception as error:
                error.add_note(f"in messages[{number}]; none of them was stored")
                raise
        _check_keys(drafts)
        return drafts

    def store(self, connection: Connection, drafts: list[Draft]) -> list[Receipt]:
        """Store ``drafts``; the daemon is to be woken when that is committed.

        Raises `LimitError`, `IdempotencyError` and `OutboxError`.
        """
        octets = sum(len(each.content.raw) for each in drafts)
        self._headroom.admit(connection, octets, self.path)
        try:
            receipts = self._insert(connection, drafts)
        except BaseException:
            self._headroom.give_back(octets)
            raise
        reach("before", "enqueue-commit")
        return receipts

    def store_and_ring(self, connection: Connection, drafts: list[Draft]) -> list[Receipt]:
        """Store ``drafts``, and wake the daemon whenever somebody else commits that."""
        receipts = self.store(connection, drafts)
        self.ring_after_commit(connection)
        return receipts

    def ring_after_commit(self, connection: Connection) -> None:
        """Wake the daemon when the transaction of ``connection`` is committed."""
        if self._notify or self.path is not None:
            ring_after_commit(connection)

    def store_for_certain(self, certainty: Certainty, drafts: list[Draft]) -> list[Receipt]:
        """Store ``drafts`` in a transaction of its own, and wake the daemon.

        Raises what `store` does, and `OutcomeUnknownError`.
        """
        with translating(self.url):
            return certainty.commit(
                lambda connection: self.store_and_ring(connection, drafts), iter
            )

    def ring(self) -> None:
        """Wake the daemon, for what has been committed."""
        if self.path is not None:
            ring_resolved(self.path)

    def status(self, connection: Connection, message: int) -> MessageStatus:
        """Return how ``message`` stands; raises `UnknownMessageError`."""
        if not 0 <= message <= GREATEST_ID:
            raise UnknownMessageError(message)
        return status(connection, message)

    def cancel(self, connection: Connection, message: int, reason: str) -> Cancellation:
        """Cancel what can still be cancelled of ``message``; raises `UnknownMessageError`."""
        now = moment(connection, self.clock)
        return cancel(connection, message, actor=ACTOR, reason=reason, now=now)

    def join(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in the caller's transaction, which the caller commits or rolls back."""
        check_joinable(connection, self.path)
        if not self._joined_schema_is_known:
            check(connection)
            self._joined_schema_is_known = True
        return work(connection)

    def _insert(self, connection: Connection, drafts: list[Draft]) -> list[Receipt]:
        try:
            return enqueue(connection, drafts, now=moment(connection, self.clock))
        except IntegrityError as error:
            if "idempotency_key" not in str(error.orig):
                raise
            raise OutboxBusyError(
                f"{describe(self.url)} got a message with the same idempotency key from someone "
                "else at this moment; roll back and try again, to get its receipt"
            ) from error


def _check_keys(drafts: Iterable[Draft]) -> None:
    seen: dict[str, bytes] = {}
    for each in drafts:
        key = each.options.idempotency_key
        if key is not None and seen.setdefault(key, each.digest) != each.digest:
            raise OptionError(
                f"the idempotency key {key!r} is given to two different messages here; nothing "
                "was stored. Use one key for one message"
            )
