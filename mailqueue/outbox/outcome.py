"""What became of a transaction whose connection was lost at COMMIT: found out, and never guessed.

See docs/decisions/0046-a-lost-commit-is-looked-for.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from mailqueue.errors import OutcomeUnknownError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.priority import Priority
from mailqueue.outbox.enqueue import Receipt
from mailqueue.outbox.location import describe
from mailqueue.outbox.tables import DEFAULT_RELAY, messages

T = TypeVar("T")


@contextmanager
def committing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is committed at the end.

    Raises `OutcomeUnknownError` where the connection was lost at the COMMIT itself, and what
    `Engine.begin` raises.
    """
    is_ending = False
    try:
        with engine.begin() as connection:
            yield connection
            is_ending = True
    except DBAPIError as error:
        if is_ending and error.connection_invalidated:
            raise OutcomeUnknownError(
                f"the connection to {describe(engine.url)} was lost during COMMIT: whether it was "
                f"carried out is not known ({' '.join(str(error.orig).split())})"
            ) from error
        raise


def carry_out(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run ``work`` in a transaction and return its value once that is committed.

    Raises like `committing`; an `OutcomeUnknownError` bears the value.
    """
    value: Any = None
    try:
        with committing(engine) as connection:
            value = work(connection)
    except OutcomeUnknownError as unknown:
        unknown.value = value
        raise
    written: T = value
    return written


def look(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run ``work``, which writes nothing, in a transaction and return its value.

    Where its connection is lost it is run once more: a pool remembers those of a server that
    has been restarted since, and forgets them all with the first that shows it.
    """
    try:
        with engine.begin() as connection:
            return work(connection)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with engine.begin() as connection:
        return work(connection)


def is_stored(connection: Connection, receipt: Receipt, *, wait: float | None) -> bool:
    """Return whether the message of ``receipt``, which no other call has returned, is there.

    Waits up to ``wait`` seconds for a transaction that is storing it at this moment; a longer one
    is an error of the database. None: there can be no such transaction. The caller rolls back.
    """
    if wait is not None:
        wait_at_most(connection, wait)
        # Whoever has inserted this id and has not ended is waited for: only so does "it is not
        # there" mean that it will not be. A lost connection can leave a COMMIT still to come.
        connection.execute(insert(messages).values(_nobody(receipt.id)).on_conflict_do_nothing())
    found = connection.execute(
        select(messages.c.header_message_id).where(messages.c.id == receipt.id)
    ).scalar()
    # Another server, to which ours failed over, may have given the number to somebody else.
    return found == receipt.message_id and found != _PROBE


def wait_at_most(connection: Connection, seconds: float) -> None:
    """Let this transaction wait no longer than so for what others are writing."""
    if connection.dialect.name == "postgresql":
        milliseconds = str(max(1, round(1000 * seconds)))
        connection.execute(select(func.set_config("lock_timeout", milliseconds, True)))


_PROBE: Final = ""
"""The Message-ID of the row that `is_stored` tries to insert; no message has it."""


def _nobody(number: int) -> dict[str, Any]:
    """Return a row with this id, which is rolled back."""
    return {
        "id": number,
        "enqueued_at": 0,
        "header_message_id": _PROBE,
        "sender": "",
        "size": 0,
        "recipient_count": 0,
        "eight_bit": False,
        "utf8_header": False,
        "relay": DEFAULT_RELAY,
        "priority": int(Priority.NORMAL),
        "on_doubt": OnDoubt.RETRY.value,
    }
