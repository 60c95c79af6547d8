"""Statements on the way of every mail: compiled once, then handed to the driver itself.

For each statement that it runs SQLAlchemy makes a key, a context and a description of the result,
and for each row of a batch two dictionaries. That is nothing beside what a person waits for, and
ten times what SQLite takes to find a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Select, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

Values = tuple[Any, ...]


ROWS_AT_ONCE = (25, 5, 1)
"""For how many rows a `Batch` has a statement in SQLite, which may have been built to take few
parameters; an attempt has 21 of them."""
FAR_ROWS_AT_ONCE = (400, 100, *ROWS_AT_ONCE)
"""The same for a database at the other end of a network, where each statement is a round trip."""


class Prepared:
    """A Core statement whose parameters are ``names``, in the order in which rows give them.

    It joins the transaction of the connection that it is run on. Values go to the driver and
    come from it as they are, converted by no type of SQLAlchemy, and no event of SQLAlchemy
    tells of it. Errors are those of SQLAlchemy. ``packs``: the rows of a SELECT come from SQLite
    as one, see `_packed`.
    """

    def __init__(self, statement: Executable, *names: str, packs: bool = False) -> None:
        self._statement = statement
        self._names = names
        self._packs = packs
        self._ready: dict[_Kind, _Ready] = {}

    def all(self, connection: Connection, *values: Any) -> list[Values]:
        """Run it once and return all rows."""
        ready = self._for(connection.dialect)
        with _cursor(connection, ready.text) as cursor:
            cursor.execute(ready.text, ready.arranged(values))
            rows: list[Values] = cursor.fetchall()
        return json.loads(rows[0][0]) if ready.is_packed else rows

    def run(self, connection: Connection, *values: Any) -> int:
        """Run it once and return how many rows it changed."""
        ready = self._for(connection.dialect)
        with _cursor(connection, ready.text) as cursor:
            cursor.execute(ready.text, ready.arranged(values))
            changed: int = cursor.rowcount
        return changed

    def _for(self, dialect: Dialect) -> _Ready:
        kind = dialect.name, dialect.driver, dialect.paramstyle
        if (ready := self._ready.get(kind)) is None:
            ready = self._ready[kind] = self._prepare(dialect)
        return ready

    def _prepare(self, dialect: Dialect) -> _Ready:
        is_packed = self._packs and dialect.name == "sqlite"
        statement = _packed(self._statement) if is_packed else self._statement
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        # A dialect may add some of its own, such as the OFFSET 0 of a LIMIT.
        own = {name: value for name, value in compiled.params.items() if name not in self._names}
        if None in own.values():
            raise AssertionError(f"{self._names} are not all parameters of {compiled}")
        arranged = _arrangement((*self._names, *own), compiled.positiontup)
        if not own:
            return _Ready(str(compiled), arranged, is_packed)
        return _Ready(str(compiled), lambda values: arranged((*values, *own.values())), is_packed)


class Batch:
    """A statement for many rows at once.

    ``make`` returns it for a number of rows; its parameters are then ``names``, each with the
    number of its row behind an underscore. A statement that is run for one row after the other
    gives the interpreter's lock away with each of them, and waits until it gets it back: beside a
    busy thread that took more than the rows themselves.
    """

    def __init__(self, make: Callable[[int], Executable], *names: str) -> None:
        self._make = make
        self._names = names
        self._ready: dict[int, Prepared] = {}

    def run(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it for ``rows``, and return how many it changed."""
        return sum(
            prepared.run(connection, *values)
            for prepared, values in self._parts(connection.dialect, rows)
        )

    def all(self, connection: Connection, rows: Sequence[Values]) -> list[Values]:
        """Run it for ``rows``, and return all that it selects."""
        return [
            found
            for prepared, values in self._parts(connection.dialect, rows)
            for found in prepared.all(connection, *values)
        ]

    def _parts(
        self, dialect: Dialect, rows: Sequence[Values]
    ) -> Iterator[tuple[Prepared, Iterator[Any]]]:
        begun = 0
        for size in ROWS_AT_ONCE if dialect.name == "sqlite" else FAR_ROWS_AT_ONCE:
            while len(rows) - begun >= size:
                yield self._for(size), chain.from_iterable(rows[begun : begun + size])
                begun += size

    def _for(self, size: int) -> Prepared:
        if (prepared := self._ready.get(size)) is None:
            names = (f"{name}_{number}" for number in range(size) for name in self._names)
            prepared = self._ready[size] = Prepared(self._make(size), *names)
        return prepared


_Kind = tuple[str, str, str]
"""What a statement's words depend on: the database, its driver, how parameters are written."""


@dataclass(frozen=True, slots=True)
class _Ready:
    text: str
    arranged: Callable[[Values], Values | Mapping[str, Any]]
    is_packed: bool


def _packed(statement: Any) -> Select[Any]:
    """Return a SELECT of all rows of ``statement`` as one JSON array.

    For each row that it fetches the driver gives the interpreter's lock away and waits until it
    gets it back, see `Batch`. For texts and numbers; the order is that of ``statement``, because it
    has a limit.
    """
    rows = statement.subquery()
    return select(func.json_group_array(func.json_array(*rows.c)))


def _arrangement(
    names: Sequence[str], order: Sequence[str] | None
) -> Callable[[Values], Values | Mapping[str, Any]]:
    """Return what makes of values in the order of ``names`` what the driver takes."""
    if order is None:
        return lambda values: dict(zip(names, values, strict=True))
    if tuple(order) == tuple(names):
        return lambda values: values
    if len(order) == 1:
        return lambda values: (values[0],)
    return itemgetter(*map(names.index, order))


@contextmanager
def _cursor(connection: Connection, statement: str) -> Iterator[Any]:
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    dialect = connection.dialect
    try:
        yield cursor
    except dialect.loaded_dbapi.Error as error:
        # As SQLAlchemy does it: a connection that is gone must not go back to the pool as well.
        is_lost = dialect.is_disconnect(error, connection.connection, cursor)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=dialect,
        ) from error
    finally:
        cursor.close()


class Savepoint:
    """A point in the transaction that what follows can be taken back to.

    Used with ``with``, one at a time. An error leaves it to the caller's rollback of everything.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Savepoint:
        """Set the point."""
        self._say("SAVEPOINT mailqueue")
        return self

    def rollback(self) -> None:
        """Take back what was done since."""
        self._say("ROLLBACK TO SAVEPOINT mailqueue")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Forget the point, unless all is lost anyway."""
        if kind is None:
            self._say("RELEASE SAVEPOINT mailqueue")

    def _say(self, statement: str) -> None:
        with _cursor(self._connection, statement) as cursor:
            cursor.execute(statement)
