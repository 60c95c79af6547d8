"""The last ids that were given: a new message must get none that a message had before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Table, func, select, text

from mailqueue.operate.copying.rows import key_of
from mailqueue.outbox.tables import actions, attempts, messages, recipients

NUMBERED: Final = (messages, recipients, attempts, actions)
"""The tables whose ids are given by the database."""


def last_ids(connection: Connection) -> dict[str, int]:
    """Return the last id that was given in each table, whether or not the row is still there."""
    return {
        table.name: max(_given(connection, table), connection.scalar(_greatest(table)) or 0)
        for table in NUMBERED
    }


def go_on_behind(connection: Connection, last: Mapping[str, int]) -> None:
    """Let the next id in each table be one behind ``last``, and behind all that are there."""
    there = last_ids(connection)
    for table in NUMBERED:
        position = max(last[table.name], there[table.name])
        if position <= 0:
            continue
        values = {"name": table.name, "position": position}
        if connection.dialect.name == "sqlite":
            _set_in_sqlite(connection, table, values)
        else:
            connection.execute(_SET, values)


def _greatest(table: Table):  # type: ignore[no-untyped-def]
    return select(func.max(key_of(table)))


def _given(connection: Connection, table: Table) -> int:
    if connection.dialect.name != "sqlite":
        sequence = connection.scalar(_SEQUENCE, {"name": table.name})
        # From the server's own catalogue, and quoted by it.
        row = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
        return int(row.last_value) if row.is_called else 0
    if not _is_counted(table):
        return 0
    return connection.scalar(_COUNTED, {"name": table.name}) or 0


def _set_in_sqlite(connection: Connection, table: Table, values: Mapping[str, object]) -> None:
    # Without AUTOINCREMENT SQLite counts from the greatest id that is there.
    if _is_counted(table) and connection.execute(_COUNT_ON, values).rowcount == 0:
        connection.execute(_COUNT, values)


def _is_counted(table: Table) -> bool:
    return bool(table.dialect_options["sqlite"]["autoincrement"])


_SEQUENCE: Final = text("SELECT pg_get_serial_sequence(:name, 'id')")
_SET: Final = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :position)")
_COUNTED: Final = text("SELECT max(seq) FROM sqlite_sequence WHERE name = :name")
_COUNT_ON: Final = text("UPDATE sqlite_sequence SET seq = :position WHERE name = :name")
_COUNT: Final = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :position)")
