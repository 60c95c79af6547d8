"""Statements on the way of every mail: compiled once, then handed to the driver as they are.

SQLAlchemy finds a compiled statement again by a key that it makes of the whole expression, and
turns each row's parameters into a dictionary and back. For one statement that is little; for
each recipient of each batch it is more than SQLite itself takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Row
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

Values = tuple[Any, ...]


class Prepared:
    """A Core statement whose parameters are ``names``, in the order in which rows give them.

    Values go to the driver as they are: no type of SQLAlchemy converts them.
    """

    def __init__(self, statement: Executable, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._ready: WeakKeyDictionary[Dialect, _Ready] = WeakKeyDictionary()

    def all(self, connection: Connection, *values: Any) -> Sequence[Row[Any]]:
        """Run it once and return all rows."""
        ready = self._for(connection)
        return connection.exec_driver_sql(ready.text, ready.arranged(values)).all()

    def run(self, connection: Connection, *values: Any) -> int:
        """Run it once and return how many rows it changed."""
        ready = self._for(connection)
        return connection.exec_driver_sql(ready.text, ready.arranged(values)).rowcount

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it for each of ``rows``, at least one; returns how many rows it changed in all."""
        ready = self._for(connection)
        arranged = list(map(ready.arranged, rows))
        return connection.exec_driver_sql(ready.text, arranged).rowcount

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
