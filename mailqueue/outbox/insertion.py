"""Drafts as rows: what is written for each, and the fewest statements that write it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import sqlite

from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.recipe import own_driver
from mailqueue.outbox.tables import contents, messages, recipients

if TYPE_CHECKING:
    from mailqueue.outbox.enqueue import Draft

Row: TypeAlias = tuple[Any, ...]
Pen: TypeAlias = Connection | sqlite3.Connection
"""What writes: see `own_driver`."""


def insert_drafts(connection: Connection, drafts: Sequence[Draft], now: int) -> list[int]:
    """Write ``drafts``, of which there is at least one; return their ids in their order.

    ``now`` in epoch microseconds.
    """
    rows = [_message_row(draft, now) for draft in drafts]
    dialect = connection.dialect
    if dialect.name != "sqlite" or dialect.paramstyle != "qmark":
        ids = _insert_by_core(connection, rows)
        _write_by_core(connection, _CONTENT, _content_rows(ids, drafts))
        _write_by_core(connection, _RECIPIENT, _recipient_rows(ids, drafts, now))
        return ids
    own = own_driver(connection)
    if own is not None and len(drafts) == 1:
        return [_insert_one(own, rows[0], drafts[0], now)]
    pen = own or connection
    ids = _insert(pen, rows)
    _write(pen, _CONTENT, _content_rows(ids, drafts))
    _write(pen, _RECIPIENT, _recipient_rows(ids, drafts, now))
    return ids


def _insert_one(pen: sqlite3.Connection, row: Row, draft: Draft, now: int) -> int:
    """Write what most calls bring, without the lists that more would need."""
    number = pen.execute(_MESSAGE.sql, row).lastrowid or 0
    pen.execute(_CONTENT.sql, (number, draft.content.raw))
    _write(pen, _RECIPIENT, _recipient_rows((number,), (draft,), now))
    return number


def _message_row(draft: Draft, now: int) -> Row:
    options, content = draft.options, draft.content
    return (
        now,
        content.message_id,
        draft.envelope.sender,
        len(content.raw),
        len(draft.envelope.recipients),
        content.eight_bit,
        content.utf8_header,
        options.relay,
        int(options.priority),
        _ON_DOUBT[options.on_doubt],
        options.send_at,
        options.expires_at,
        _json(options.tags) if options.tags else "{}",
        options.idempotency_key,
        draft.digest if options.idempotency_key is not None else None,
    )


def _json(tags: Mapping[str, str]) -> str:
    return json.dumps(dict(tags), ensure_ascii=False, sort_keys=True)


def _content_rows(ids: Sequence[int], drafts: Sequence[Draft]) -> list[Row]:
    return [(number, draft.content.raw) for number, draft in zip(ids, drafts, strict=True)]


def _recipient_rows(ids: Sequence[int], drafts: Sequence[Draft], now: int) -> list[Row]:
    rows: list[Row] = []
    for number, draft in zip(ids, drafts, strict=True):
        options = draft.options
        starts_at = max(now, options.send_at or now)
        rest = (
            _QUEUED,
            options.relay,
            int(options.priority),
            starts_at,
            starts_at,
            options.expires_at,
        )
        rows.extend((number, address, *rest) for address in draft.envelope.recipients)
    return rows


@dataclass(frozen=True, slots=True)
class _Shape:
    """The columns that a row has a value for, and their INSERT in SQLite's words.

    Made once: looking a statement of SQLAlchemy's up for every message takes longer than
    SQLite takes to execute it.
    """

    table: Table
    columns: tuple[str, ...]
    sql: str

    @classmethod
    def of(cls, table: Table, *columns: str) -> _Shape:
        dialect = sqlite.dialect(paramstyle="qmark")
        compiled = insert(table).compile(dialect=dialect, column_keys=[*columns])
        assert compiled.positiontup == [*columns], "rows are written in the order of the table"
        return cls(table, columns, str(compiled))


def _insert(pen: Pen, rows: Sequence[Row]) -> list[int]:
    """Let SQLite choose the first id, and count on from there.

    The first INSERT has taken the write lock, and an AUTOINCREMENT id is above all that were ever
    given: those behind it are free, and stay so until the transaction ends.
    """
    first = _write(pen, _MESSAGE, rows[:1])
    if len(rows) > 1:
        numbered = [(number, *row) for number, row in enumerate(rows[1:], first + 1)]
        _write(pen, _NUMBERED_MESSAGE, numbered)
    return [*range(first, first + len(rows))]


def _write(pen: Pen, shape: _Shape, rows: Sequence[Row]) -> int:
    """Insert ``rows``, and return the id of one that was alone."""
    if isinstance(pen, Connection):
        result = pen.exec_driver_sql(shape.sql, [*rows] if len(rows) > 1 else rows[0])
        return result.lastrowid if len(rows) == 1 else 0
    if len(rows) > 1:
        pen.executemany(shape.sql, rows)
        return 0
    return pen.execute(shape.sql, rows[0]).lastrowid or 0


def _insert_by_core(connection: Connection, rows: Sequence[Row]) -> list[int]:
    statement = insert(messages).returning(messages.c.id, sort_by_parameter_order=True)
    return [*connection.execute(statement, _named(_MESSAGE, rows)).scalars()]


def _write_by_core(connection: Connection, shape: _Shape, rows: Sequence[Row]) -> None:
    connection.execute(insert(shape.table), _named(shape, rows))


def _named(shape: _Shape, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [dict(zip(shape.columns, row, strict=True)) for row in rows]


_QUEUED: Final = State.QUEUED.value
_ON_DOUBT: Final = {each: each.value for each in OnDoubt}
_COLUMNS: Final = tuple(column.name for column in messages.c if column.name != "id")
_MESSAGE: Final = _Shape.of(messages, *_COLUMNS)
_NUMBERED_MESSAGE: Final = _Shape.of(messages, "id", *_COLUMNS)
_CONTENT: Final = _Shape.of(contents, "message_id", "raw")
_RECIPIENT: Final = _Shape.of(
    recipients,
    "message_id",
    "address",
    "state",
    "relay",
    "priority",
    "due_at",
    "lifetime_from",
    "expires_at",
)
