"""What is copied, and the one form in which a row of either database is written and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Boolean, Column, Connection, LargeBinary, Select, Table, Text, func, select

from mailqueue.outbox.tables import (
    actions,
    attempts,
    contents,
    limits,
    messages,
    recipients,
    relays,
    shares,
    workers,
)

COPIED: Final = (messages, contents, recipients, attempts, actions)
"""Row by row and in this order, in which none refers to one that comes later."""
LEFT: Final = {
    relays: "by name, with the pauses: see `pauses`",
    workers: "they are daemons of the source",
    limits: "a moment's: the next second of a rate, and who is probing",
    shares: "what daemons of the source may do now",
}
"""All other tables, and what becomes of them."""

ROWS: Final = 2_000
"""Rows in a batch, at most."""
OCTETS: Final = 4 * 1024 * 1024
"""Contents in a batch, all together; one content is taken however large it is."""

Row: TypeAlias = tuple[Any, ...]


def key_of(table: Table) -> Column[int]:
    """Return the column by which ``table`` is walked."""
    (key,) = table.primary_key.columns
    return key


def batch(connection: Connection, table: Table, *, after: int | None) -> Sequence[Row]:
    """Return the next rows of ``table`` behind the key ``after``, in order; none at the end."""
    if table is contents:
        last = _last_that_fits(connection, after)
        return [] if last is None else between(connection, table, after=after, last=last)
    return _rows(connection, _behind(select(table), table, after).limit(ROWS))


def between(connection: Connection, table: Table, *, after: int | None, last: int) -> Sequence[Row]:
    """Return the rows of ``table`` behind ``after`` and up to ``last``, in their order."""
    return _rows(connection, _behind(select(table), table, after).where(key_of(table) <= last))


def count(connection: Connection, table: Table) -> int:
    """Return how many rows ``table`` has."""
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _rows(connection: Connection, statement: Select[Any]) -> Sequence[Row]:
    return [tuple(row) for row in connection.execute(statement)]


def _behind(statement: Select[Any], table: Table, after: int | None) -> Select[Any]:
    key = key_of(table)
    return (statement if after is None else statement.where(key > after)).order_by(key)


def _last_that_fits(connection: Connection, after: int | None) -> int | None:
    # The length of a BLOB or a bytea is known without reading it.
    statement = select(contents.c.message_id, func.length(contents.c.raw))
    octets, last = 0, None
    for number, length in connection.execute(_behind(statement, contents, after).limit(ROWS)):
        octets += length
        if last is not None and octets > OCTETS:
            break
        last = number
    return last


class Form:
    """The form of a table's rows, the same whichever database they come from.

    A flag is True or False. Text that PostgreSQL cannot hold, which is NUL alone, becomes U+FFFD;
    octets that are no UTF-8, as only another hand can have written them, were read so already.
    """

    def __init__(self, table: Table) -> None:
        self._converters = [
            (position, converter)
            for position, column in enumerate(table.c)
            if (converter := _converter(column)) is not None
        ]

    def __call__(self, row: Row) -> Row:
        """Return ``row`` in this form."""
        values = list(row)
        for position, convert in self._converters:
            if values[position] is not None:
                values[position] = convert(values[position])
        return tuple(values)


def _converter(column: Column[Any]) -> Callable[[Any], Any] | None:
    match column.type:
        case Boolean():
            return bool
        case LargeBinary():
            return bytes
        case Text():
            return _text
        case _:
            return None


def _text(value: str) -> str:
    return value.replace("\0", "�") if "\0" in value else value


class Checksum:
    """SHA-256 over rows: for each value its kind, its length and its octets.

    ``-`` for NULL, ``i`` with an integer in decimal (a flag is 0 or 1), ``t`` with the length of
    text in UTF-8, ``b`` with that of octets; rows end with a line feed.
    """

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, rows: Iterable[Row]) -> None:
        """Take ``rows`` in."""
        for row in rows:
            self._sum.update(b"".join(map(_octets, row)))
            self._sum.update(b"\n")

    def __str__(self) -> str:
        return self._sum.hexdigest()


def _octets(value: Any) -> bytes:
    if value is None:
        return b"-"
    if isinstance(value, int):
        return b"i%d;" % value
    kind, octets = (b"b", value) if isinstance(value, bytes) else (b"t", value.encode())
    return b"%s%d:%s" % (kind, len(octets), octets)
