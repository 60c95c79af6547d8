"""Statements on the way of every mail: compiled once, then handed to the driver itself.

For each statement that it runs SQLAlchemy makes a key, a context and a description of the result,
and for each row of a batch two dictionaries. That is nothing beside what a person waits for, and
ten times what SQLite takes to find a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

Values = tuple[Any, ...]


class Prepared:
    """A Core statement whose parameters are ``names``, in the order in which rows give them.

    It joins the transaction of the connection that it is run on. Values go to the driver and
    come from it as they are, converted by no type of SQLAlchemy, and no event of SQLAlchemy
    tells of it. Errors are those of SQLAlchemy.
    """

    def __init__(self, statement: Executable, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._ready: WeakKeyDictionary[Dialect, _Ready] = WeakKeyDictionary()

    def all(self, connection: Connection, *values: Any) -> list[Values]:
        """Run it once and return all rows."""
        ready = self._for(connection)
        with _cursor(connection, ready.text) as cursor:
            cursor.execute(ready.text, ready.arranged(values))
            rows: list[Values] = cursor.fetchall()
        return rows

    def run(self, connection: Connection, *values: Any) -> int:
        """Run it once and return how many rows it changed."""
        ready = self._for(connection)
        with _cursor(connection, ready.text) as cursor:
            cursor.execute(ready.text, ready.arranged(values))
            changed: int = cursor.rowcount
        return changed

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it for each of ``rows``, at least one; returns how many rows it changed in all."""
        ready = self._for(connection)
        with _cursor(connection, ready.text) as cursor:
            cursor.executemany(ready.text, list(map(ready.arranged, rows)))
            changed: int = cursor.rowcount
        return changed

    def _for(self, connection: Connection) -> _Ready:
        dialect = connection.dialect
        if (ready := self._ready.get(dialect)) is None:
            ready = self._ready[dialect] = self._prepare(dialect)
        return ready

    def _prepare(self, dialect: Dialect) -> _Ready:
        compiled = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        # A dialect may add some of its own, such as the OFFSET 0 of a LIMIT.
        own = {name: value for name, value in compiled.params.items() if name not in self._names}
        if None in own.values():
            raise AssertionError(f"{self._names} are not all parameters of {compiled}")
        arranged = _arrangement((*self._names, *own), compiled.positiontup)
        if not own:
            return _Ready(str(compiled), arranged)
        return _Ready(str(compiled), lambda values: arranged((*values, *own.values())))


@dataclass(frozen=True, slots=True)
class _Ready:
    text: str
    arranged: Callable[[Values], Values | Mapping[str, Any]]


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
