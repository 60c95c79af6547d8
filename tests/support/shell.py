"""A person with a shell on the outbox's database: plain SQL, and no engine of ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import psycopg
from sqlalchemy import make_url

from mailqueue.outbox.location import database_path

Row: TypeAlias = Any
"""A row: by position, by name, or unpacked."""


class _Row(Sequence[Any]):
    """One of PostgreSQL's rows, with the manners of `sqlite3.Row`."""

    def __init__(self, names: Sequence[str], values: Sequence[Any]) -> None:
        self._names = names
        self._values = tuple(values)

    def __getitem__(self, key: Any) -> Any:
        return self._values[self._names.index(key) if isinstance(key, str) else key]

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> Sequence[str]:
        """Return the names of the columns."""
        return self._names


def _row_factory(cursor: Any) -> Callable[[Sequence[Any]], _Row]:
    names = [column.name for column in cursor.description or ()]
    return lambda values: _Row(names, values)


class Shell(Protocol):
    """What can be asked and told; each statement commits by itself. ``?`` stands for a value."""

    def ask(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows that ``sql`` finds."""
        ...

    def execute(self, sql: str, *values: Any) -> None:
        """Change something."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep everybody else from writing for a while, as a forgotten transaction does."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


def shell_on(url: str) -> Shell:
    """Return a shell on the outbox at ``url``."""
    return PostgresShell(url) if database_path(url) is None else FileShell(url)


class FileShell:
    """On a SQLite file, as the program sqlite3 does it."""

    def __init__(self, url: str) -> None:
        self._path = database_path(url)
        assert self._path is not None
        self._reader = sqlite3.connect(self._path, isolation_level=None)
        self._reader.row_factory = sqlite3.Row

    def ask(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows that ``sql`` finds."""
        return self._reader.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: Any) -> None:
        """Change something, over a connection of its own."""
        with contextlib.closing(sqlite3.connect(str(self._path), timeout=10)) as shell, shell:
            shell.execute(sql, values)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from writing."""
        with contextlib.closing(
            sqlite3.connect(str(self._path), isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


class PostgresShell:
    """On PostgreSQL, as psql does it."""

    def __init__(self, url: str) -> None:
        plain = make_url(url).set(drivername="postgresql")
        self._dsn = plain.render_as_string(hide_password=False)
        self._connection = psycopg.connect(self._dsn, autocommit=True, row_factory=_row_factory)

    def ask(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows that ``sql`` finds."""
        return [*self._connection.execute(_in_psycopg(sql, values), values or None)]

    def execute(self, sql: str, *values: Any) -> None:
        """Change something."""
        self._connection.execute(_in_psycopg(sql, values), values or None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from writing."""
        tables = (
            "SELECT string_agg(tablename, ', ') FROM pg_tables WHERE tablename LIKE 'mailqueue%'"
        )
        with psycopg.connect(self._dsn) as connection:
            (names,) = connection.execute(tables).fetchone() or ("",)
            connection.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
            yield
            connection.rollback()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


def _in_psycopg(sql: str, values: tuple[Any, ...]) -> Any:
    return sql.replace("%", "%%").replace("?", "%s") if values else sql
