"""A question in somebody's own SQL to PostgreSQL: one statement, read-only, stopped in time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import Connection

Found = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""The names of the columns, and the rows."""


class Wrong(Exception):
    """The SQL cannot be answered; the text is the database's."""


class WouldChange(Exception):
    """It would change something, or do something beside reading."""


class Stopped(Exception):
    """It took too long."""


def ask(connection: Connection, sql: str, *, expired: Callable[[], bool]) -> Found:
    """Return what ``sql`` finds, asked over a connection whose transactions are read-only.

    ``expired`` is asked now and then, in another thread; once it says so, the server stops.
    """
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.driver_connection
    if not _READS.match(sql):
        raise _refusal(driver, sql)
    # How long it may take is for the caller to say, and no longer for our own limit.
    driver.execute("SET LOCAL statement_timeout = 0")
    try:
        with _stopping(driver, expired):
            # Prepared, because what is sent as plain text may be several statements, and the
            # first of them may end the transaction that only reads.
            cursor = driver.execute(sql, prepare=True)
            if cursor.description is None:
                raise WouldChange
            return tuple(column.name for column in cursor.description), cursor.fetchall()
    except psycopg.errors.ReadOnlySqlTransaction:
        raise WouldChange from None
    except psycopg.errors.QueryCanceled:
        raise Stopped from None
    except psycopg.Error as error:
        raise Wrong(str(error)) from None


# A transaction that is read-only still lets through what reaches beyond the tables: COPY to a
# program, LOAD, DO, NOTIFY, or its own COMMIT.
_READS: Final = re.compile(
    r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/|\()*(?:select|with|values|table|explain|show)\b",
    re.IGNORECASE,
)
_LOOK_SECONDS: Final = 0.05


def _refusal(driver: Any, sql: str) -> Exception:
    """Tell what the server does not understand from what it would carry out; it does neither."""
    try:
        result = driver.pgconn.prepare(b"", sql.encode())
    except psycopg.Error as error:
        return Wrong(str(error))
    message = result.get_error_message() if result.status == _FATAL else ""
    return Wrong(message) if message else WouldChange()


_FATAL: Final = psycopg.pq.ExecStatus.FATAL_ERROR


@contextmanager
def _stopping(driver: Any, expired: Callable[[], bool]) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            if expired():
                driver.cancel_safe()
                return

    watching = threading.Thread(target=watch, name="mailqueue-question", daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
