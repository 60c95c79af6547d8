"""A question in somebody's own SQL: answered from a snapshot, and unable to change anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from mailqueue.errors import MailqueueError


class QuestionError(MailqueueError):
    """The SQL cannot be answered; the text is the database's."""


class WritingError(QuestionError):
    """The SQL would change something, or reach beyond this database."""


class TooLongError(QuestionError):
    """The answer took longer than it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for: the names of the columns, and the rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def answer(connection: Connection, sql: str, *, expired: Callable[[], bool]) -> Answer:
    """Return what ``sql``, one statement, finds.

    All rows are read before it returns, so that no snapshot stays open, and the log cannot be
    emptied for its sake, while somebody reads the output. ``expired`` is asked now and then:
    once it says so, the database stops. Raises `WritingError`, `TooLongError` and `QuestionError`.
    """
    if connection.dialect.name == "postgresql":
        return _answer_on_postgresql(connection, sql, expired)
    with _guarded(connection, expired):
        try:
            found = connection.exec_driver_sql(sql)
            if not found.returns_rows:
                raise WritingError(_REFUSED)
            return Answer(tuple(found.keys()), [tuple(row) for row in found])
        except (DBAPIError, sqlite3.Error) as error:
            raise _explained(error) from None


def _answer_on_postgresql(connection: Connection, sql: str, expired: Callable[[], bool]) -> Answer:
    # Only who asks PostgreSQL loads its driver.
    from mailqueue.outbox import question_postgresql as postgresql  # noqa: PLC0415

    try:
        return Answer(*postgresql.ask(connection, sql, expired=expired))
    except postgresql.WouldChange:
        raise WritingError(_REFUSED) from None
    except postgresql.Stopped:
        raise TooLongError(_STOPPED) from None
    except postgresql.Wrong as error:
        raise QuestionError(str(error)) from None


@contextmanager
def _guarded(connection: Connection, expired: Callable[[], bool]) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    # "query_only" alone is a setting that a statement could take back, and says nothing
    # about ATTACH, which makes files.
    driver.set_authorizer(_allows)
    driver.set_progress_handler(lambda: int(expired()), _STEPS)
    try:
        yield
    finally:
        driver.set_authorizer(None)
        driver.set_progress_handler(None, 0)


def _allows(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _READING:
        return sqlite3.SQLITE_OK
    # With a value it would be a setting, apart from those that take a table's name.
    if action == sqlite3.SQLITE_PRAGMA and (second is None or first in _DESCRIBING):
        return sqlite3.SQLITE_OK if first in _ASKING else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _explained(error: DBAPIError | sqlite3.Error) -> QuestionError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        # Some statements are refused while they are read, with no code of its own for it.
        is_refused = code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY)
        if is_refused or str(cause) == "not authorized":
            return WritingError(_REFUSED)
        if code == sqlite3.SQLITE_INTERRUPT:
            return TooLongError(_STOPPED)
    return QuestionError(str(cause))


_REFUSED: Final = (
    "this only reads, and the statement would change something or is not about this database; "
    "`mailqueue retry`, `hold`, `release` and `cancel` make the changes that are a person's"
)
_STOPPED: Final = "it took too long and was stopped; --timeout gives it more time"
_STEPS: Final = 100_000
"""Instructions of SQLite's machine between two looks at the clock: some milliseconds."""
_READING: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
)
_DESCRIBING: Final = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
)
_ASKING: Final = _DESCRIBING | {
    "auto_vacuum",
    "compile_options",
    "database_list",
    "freelist_count",
    "journal_mode",
    "page_count",
    "page_size",
    "user_version",
}
