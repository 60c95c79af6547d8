"""The SQLite recipe: what each connection is told, and how its transactions begin."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event

from mailqueue.errors import OutboxError

# The daemon checkpoints (see checkpoint.py) long before the log is this long. A producer's
# commit does it only where no daemon has come by for 40 MiB, so that the log cannot eat
# the disk. Two connections that checkpoint and write at once are what the WAL-reset bug
# of SQLite before 3.51.3 needs (sqlite.org/wal.html#walresetbug).
_UNATTENDED_LOG_PAGES = 10_000
_KEPT_LOG_BYTES = 67_108_864

_WAL = "journal_mode=WAL"
_DURABLE = (_WAL, "synchronous=FULL", "foreign_keys=ON")
_LOG = (
    f"wal_autocheckpoint={_UNATTENDED_LOG_PAGES}",
    f"journal_size_limit={_KEPT_LOG_BYTES}",
)
# Not for a caller's engine: its schema may call functions of the application's own.
_HARDENED = ("trusted_schema=OFF", "cell_size_check=ON")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to tell each connection; ``busy_timeout`` in seconds."""

    pragmas: tuple[str, ...]
    busy_timeout: float
    begin: str
    is_ours: bool = True

    @classmethod
    def writing(cls, busy_timeout: float) -> Recipe:
        """For our own engines that write: a transaction takes its turn when it begins."""
        return cls((*_DURABLE, *_LOG, *_HARDENED), busy_timeout, BEGIN)

    @classmethod
    def reading(cls, busy_timeout: float) -> Recipe:
        """For our own engines that only read, and so never wait for a writer."""
        return cls(("query_only=ON", *_HARDENED), busy_timeout, "BEGIN DEFERRED")

    @classmethod
    def callers(cls, busy_timeout: float, begin: str) -> Recipe:
        """For an application's engine: what the promises need, and no more.

        When its connections checkpoint is left to it, as it is its file.
        """
        return cls(_DURABLE, busy_timeout, f"BEGIN {begin}", is_ours=False)


_FOLLOWED = "mailqueue.recipe"
_BY_HAND = "mailqueue.by-hand"
BEGIN = "BEGIN IMMEDIATE"
"""How a transaction of ours takes its turn."""
_installed: WeakSet[Engine] = WeakSet()
_installing = Lock()


def install(engine: Engine, recipe: Recipe) -> None:
    """Make every connection of ``engine`` follow ``recipe``; a second time changes nothing."""
    if engine.dialect.name != "sqlite":
        return
    with _installing:  # twice would begin each transaction twice
        if engine in _installed:
            return
        _installed.add(engine)

    # At checkout and not at connect, so that connections which an application's engine
    # opened before it was configured are not forgotten.
    def prepare(connection: Any, record: Any, _proxy: Any) -> None:
        if _FOLLOWED not in record.info:
            _prepare(connection, recipe)
            record.info[_FOLLOWED] = recipe

    def begin(connection: Connection) -> None:
        if _BY_HAND not in connection.info:
            connection.exec_driver_sql(recipe.begin)

    event.listen(engine, "checkout", prepare)
    event.listen(engine, "begin", begin)


def own_driver(connection: Connection) -> sqlite3.Connection | None:
    """Return what ``connection`` drives SQLite with, if its engine is one of ours; else None.

    None, too, before its transaction has begun, which SQLAlchemy does with the first statement
    that it sees. A statement given to the driver costs a tenth of one that goes by way of
    SQLAlchemy; on an application's engine it would escape what the application has hung there.
    """
    info = connection.info
    kept: sqlite3.Connection | None = info.get(_BY_HAND)
    if kept is not None:
        return kept
    recipe: Recipe | None = info.get(_FOLLOWED)
    if recipe is None or not recipe.is_ours or not connection.in_transaction():
        return None
    return sqlite_driver(connection)


def sqlite_driver(connection: Connection) -> sqlite3.Connection | None:
    """Return what ``connection`` drives SQLite with; None where it is something else."""
    driver = connection.connection.driver_connection
    return driver if isinstance(driver, sqlite3.Connection) else None


def begin_by_hand(connection: Connection) -> None:
    """Tell SQLAlchemy that a transaction has begun, in which SQLite's come and go (see `BEGIN`)."""
    connection.info[_BY_HAND] = sqlite_driver(connection)
    connection.begin()


def begin_by_itself(connection: Connection) -> None:
    """Undo `begin_by_hand`, between two transactions of SQLite's."""
    connection.rollback()
    connection.info.pop(_BY_HAND, None)


def _prepare(connection: Any, recipe: Recipe) -> None:
    # The driver's own BEGIN is always deferred, and never comes before SELECT or DDL.
    connection.isolation_level = None
    if recipe.is_ours:
        getattr(connection, "driver_connection", connection).text_factory = _text
    cursor = connection.cursor()
    try:
        # First, because switching the journal mode takes a lock already.
        cursor.execute(f"PRAGMA busy_timeout={round(recipe.busy_timeout * 1000)}")
        if _WAL in recipe.pragmas:
            _prepare_empty_file(cursor)
        for pragma in recipe.pragmas:
            cursor.execute(f"PRAGMA {pragma}")
            _check(pragma, cursor.fetchone())
    finally:
        cursor.close()


def _text(octets: bytes) -> str:
    # The driver's own reading raises where a column is not UTF-8: one such row, which
    # anybody with a shell can write, would keep every other from being read.
    return octets.decode("utf-8", "replace")


def _prepare_empty_file(cursor: Any) -> None:
    # Settled by the first page for the life of the file; asked first, because setting it writes.
    cursor.execute("PRAGMA page_count")
    if cursor.fetchone()[0] == 0:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")


def _check(pragma: str, answer: Any) -> None:
    if pragma == _WAL and answer[0] != "wal":
        raise OutboxError(
            f"SQLite keeps the journal mode {answer[0]!r} here and cannot use WAL: an outbox needs "
            "a file on a local disk, not memory and not a network file system"
        )
