"""The first use of an outbox: is it there, is it one, and must it be created?"""

from __future__ import annotations

from sqlalchemy import URL, Connection, text

from mailqueue.outbox.engine import read_engine, write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import database_path
from mailqueue.outbox.schema import check, current, upgrade


def ensure(url: str | URL, *, busy_timeout: float, among_others: bool = False) -> None:
    """See that there is an outbox at ``url``; a SQLite file that is missing or empty becomes one.

    ``among_others``: the tables are also created in a database that holds other ones.
    Tables of an older version are left to ``mailqueue db upgrade``. Raises `OutboxError`.
    """
    with translating(url):
        if not _is_there(url, busy_timeout, among_others):
            _create(url, busy_timeout)


def _is_there(url: str | URL, busy_timeout: float, among_others: bool) -> bool:
    path = database_path(url)
    if path is not None and not path.exists():
        return False
    engine = read_engine(_plain(url), busy_timeout=busy_timeout)
    try:
        with engine.connect() as connection:
            if _may_be_created(connection, among_others):
                return False
            check(connection)
            return True
    finally:
        engine.dispose()


def _may_be_created(connection: Connection, among_others: bool) -> bool:
    if among_others:
        return current(connection) is None
    if connection.dialect.name != "sqlite":
        return False
    return not connection.scalar(text("SELECT EXISTS (SELECT 1 FROM sqlite_master)"))


def _create(url: str | URL, busy_timeout: float) -> None:
    engine = write_engine(_plain(url), busy_timeout=busy_timeout)
    try:
        # Of two processes that come here at once, the second finds the work done.
        upgrade(engine)
    finally:
        engine.dispose()


def _plain(url: str | URL) -> str | URL:
    # An application's URL may have options of its own; the file is the same without them.
    path = database_path(url)
    return url if path is None else URL.create("sqlite", database=str(path))
