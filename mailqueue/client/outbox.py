"""The producer's door to an outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar, Unpack

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from mailqueue.client.access import Access
from mailqueue.client.cancellation import Cancellation
from mailqueue.client.certain import Certainty
from mailqueue.client.configured import read_configuration
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing, Sendable, Wishes
from mailqueue.client.producer import Producer
from mailqueue.clock import Clock
from mailqueue.failpoint import reach
from mailqueue.outbox.engine import BUSY_TIMEOUT
from mailqueue.outbox.enqueue import Draft, Receipt
from mailqueue.outbox.faults import translating
from mailqueue.outbox.lookup import MessageStatus
from mailqueue.outbox.moment import clock_for
from mailqueue.outbox.outcome import carry_out, look
from mailqueue.outbox.writing import WriteConnection

T = TypeVar("T")
Transaction: TypeAlias = "Connection | Session | scoped_session[Session]"
"""What a synchronous application holds its transaction in."""


class Outbox:
    """Puts mail into the outbox, from where the daemon sends it.

    ``place``: the outbox's URL (``sqlite:///outbox.db``) or the `pathlib.Path` of its file, or
    the application's own `sqlalchemy.Engine` where the tables stand in its database. A SQLite
    file that does not exist, or is empty, becomes an outbox at the first use. ``limits``: what
    it takes on; those of the configuration bind an outbox of `from_config` only. ``notify``: on
    PostgreSQL, whether commits wake the daemon by NOTIFY.

    Threads may share one. After a fork the child opens connections of its own; an engine of the
    application's is to be treated as SQLAlchemy says. `close`, or ``with``, gives the
    connections back; a later use opens new ones.

    Every verb takes ``connection``: it then works in the caller's transaction and commits
    nothing. After an error that transaction is to be rolled back. All raise `OutboxError`
    where the database cannot be used; `OutboxBusyError` among them, behind another writer for
    longer than ``busy_timeout`` seconds, and `OutboxUnavailableError`, where a server is not
    there, say that nothing was stored and trying again is safe. `OutcomeUnknownError` alone does
    not: the connection was lost at COMMIT, and for ``busy_timeout`` seconds nobody could be asked.
    """

    def __init__(
        self,
        place: str | URL | PathLike[str] | Engine,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
        notify: bool = True,
    ) -> None:
        self._access = Access(place, busy_timeout)
        self._producer = Producer(
            self._access.url,
            limits=limits or Limits(),
            clock=clock or clock_for(self._access.url),
            notify=notify,
        )
        self._certainty = Certainty(
            self._access.write, self._producer.clock, busy_timeout, is_own=self._access.is_own
        )

    @classmethod
    def from_config(cls, path: Path | str | None = None, *, clock: Clock | None = None) -> Self:
        """Return the outbox that the configuration names, with its busy timeout and its [limits].

        ``path`` is the file; by default $MAILQUEUE_CONFIG, or /etc/mailqueue/config.toml if it
        is there, or the defaults. It need hold no relay, and no password is read. Raises
        `ConfigError`.
        """
        database, limits = read_configuration(path)
        return cls(
            database.url,
            limits=limits,
            clock=clock,
            busy_timeout=database.busy_timeout,
            notify=database.notify,
        )

    def enqueue(
        self,
        message: Sendable | Outgoing,
        *,
        connection: Transaction | None = None,
        **wishes: Unpack[Wishes],
    ) -> Receipt:
        """Store ``message`` and return its receipt; from then on a crash loses nothing.

        ``message``: an `email.message.EmailMessage`, which is not changed, or RFC 5322 bytes.
        The keywords are the fields of `Outgoing`, which ``message`` may be as well. Bcc is
        taken out; Message-ID and Date are added where they are missing. Raises `ContentError`,
        `AddressError`, `OptionError`, `LimitError` and `IdempotencyError`; nothing was
        stored then.
        """
        self._look_at_clock(connection)
        draft = self._producer.draft(message, **wishes)
        (receipt,) = self._store([draft], connection)
        return receipt

    def enqueue_many(
        self,
        messages: Iterable[Sendable | Outgoing],
        *,
        connection: Transaction | None = None,
    ) -> list[Receipt]:
        """Store all of ``messages`` or none, in one transaction; receipts in their order.

        Wrap a message in `Outgoing` to give it options. They are all in memory at once.
        Raises what `enqueue` does, with a note that tells which message it is about.
        """
        self._look_at_clock(connection)
        return self._store(self._producer.drafts(messages), connection)

    def status(self, message: int, *, connection: Transaction | None = None) -> MessageStatus:
        """Return how the message of this receipt id stands; raises `UnknownMessageError`."""
        return self._do(
            lambda known: self._producer.status(known, message),
            connection,
            self._access.read,
            carry_out=look,
        )

    def cancel(
        self, message: int, *, reason: str = "", connection: Transaction | None = None
    ) -> Cancellation:
        """Cancel the message for every recipient that still waits; says for whom it was too late.

        Raises `UnknownMessageError`.
        """
        return self._do(
            lambda known: self._producer.cancel(known, message, reason),
            connection,
            self._access.write,
        )

    def create(self) -> None:
        """Create the tables where there are none, also among an application's own.

        Only needed for a database that holds other tables already; doing it again changes
        nothing. An older version of the tables is left to ``mailqueue db upgrade``.
        """
        self._access.create()

    def close(self) -> None:
        """Close the connections; harmless when repeated."""
        self._access.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def _look_at_clock(self, given: Transaction | None) -> None:
        """See that what is drafted next is dated by the server's clock, not by this host's."""
        if self._producer.is_out_of_time:
            self._do(self._producer.look_at_clock, given, self._access.read, carry_out=look)

    def _store(self, drafts: list[Draft], connection: Transaction | None) -> list[Receipt]:
        if not drafts:
            return []
        if connection is None and self._producer.path is None:
            self._access.prepare()
            receipts = self._producer.store_for_certain(self._certainty, drafts)
        elif connection is None and (writing := self._access.writing) is not None:
            receipts = self._store_in_own(drafts, writing)
        else:
            receipts = self._do(
                lambda known: self._producer.store_and_ring(known, drafts),
                connection,
                self._access.write,
            )
        if connection is None:
            reach("after", "enqueue-commit")
        return receipts

    def _store_in_own(self, drafts: list[Draft], writing: WriteConnection) -> list[Receipt]:
        self._access.prepare()
        with translating(self._access.url), writing.begin(committed=self._producer.ring) as own:
            return self._producer.store(own, drafts)

    def _do(
        self,
        work: Callable[[Connection], T],
        given: Transaction | None,
        engine: Engine,
        *,
        carry_out: Callable[[Engine, Callable[[Connection], T]], T] = carry_out,
    ) -> T:
        if given is not None:
            with translating(self._access.url, callers_transaction=True):
                return self._producer.join(_connection(given), work)
        self._access.prepare()
        with translating(self._access.url):
            if self._access.writing is None or engine is not self._access.write:
                return carry_out(engine, work)
            with self._access.writing.begin() as own:
                return work(own)


def _connection(given: Transaction) -> Connection:
    if isinstance(given, Connection):
        return given
    if isinstance(given, Session | scoped_session):
        return given.connection()
    raise TypeError(
        "connection= takes a sqlalchemy Connection or Session (and in AsyncOutbox an "
        f"AsyncConnection or AsyncSession), not {type(given).__name__}"
    )
