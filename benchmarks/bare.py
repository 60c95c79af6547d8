"""The ceiling of enqueueing: what SQLite commits when nobody checks, parses or converts.

The tables, their rows, the file and the connection's PRAGMAs are mailqueue's own; the rows are
bound as they stand, by the `sqlite3` module.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Engine, Table, select

from benchmarks import mails
from mailqueue import Outbox
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.tables import contents, messages, recipients

_DEPENDENT = "message_id"


@dataclass(frozen=True, slots=True)
class _Copy:
    """An INSERT, the values of a stored row for it, and where its message's number goes."""

    statement: str
    values: tuple[Any, ...]
    message_at: int | None

    def of(self, message: int) -> tuple[Any, ...]:
        if self.message_at is None:
            return self.values
        return (*self.values[: self.message_at], message, *self.values[self.message_at + 1 :])


class Bare:
    """Writes the rows of one mail again and again, with as little as can be between."""

    def __init__(self, url: str) -> None:
        with Outbox(url) as outbox:
            outbox.enqueue(mails.raw(0))
        self._engine = write_engine(url)
        self._message, *self._rest = _copies(self._engine)
        self._pooled = self._engine.raw_connection()
        self._connection = cast("sqlite3.Connection", self._pooled.driver_connection)

    def commit(self, mails_each: int = 1) -> None:
        """Store so many mails in one transaction."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for _ in range(mails_each):
            number = execute(self._message.statement, self._message.values).lastrowid
            assert number is not None
            for copy in self._rest:
                execute(copy.statement, copy.of(number))
        execute("COMMIT")

    def close(self) -> None:
        """Give the file back."""
        self._pooled.close()
        self._engine.dispose()


def _copies(engine: Engine) -> Sequence[_Copy]:
    return [_copy(engine, table) for table in (messages, contents, recipients)]


def _copy(engine: Engine, table: Table) -> _Copy:
    names = [column.name for column in table.columns if column.name != "id"]
    with engine.connect() as connection:
        row = connection.execute(select(*(table.c[name] for name in names))).one()
    listed, marks = ", ".join(names), ", ".join("?" * len(names))
    return _Copy(
        f"INSERT INTO {table.name} ({listed}) VALUES ({marks})",
        tuple(row),
        names.index(_DEPENDENT) if _DEPENDENT in names else None,
    )
