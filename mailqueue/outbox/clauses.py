"""Conditions that SQLite and PostgreSQL say in different words."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import BindParameter, Column, Connection, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement


class among(ColumnElement[bool]):  # noqa: N801 - reads like the functions that it stands beside
    """The condition that ``column`` is one of many ids, given as one parameter (see `listed`).

    A list of so many parameters would be another statement for each length, and at some length
    too long for the database.
    """

    inherit_cache = False

    def __init__(self, column: Column[int], name: str) -> None:
        self.column = column
        self.ids: BindParameter[Any] = bindparam(name)


@compiles(among)
def _among(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.column, **options)
    return f"{column} = ANY ({compiler.process(element.ids, **options)})"


@compiles(among, "sqlite")
def _among_in_sqlite(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.column, **options)
    ids = compiler.process(element.ids, **options)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - from Core alone


def listed(connection: Connection, ids: Collection[int]) -> object:
    """Return ``ids`` as the parameter of `among`."""
    some = list(ids)
    return json.dumps(some) if connection.dialect.name == "sqlite" else some


class unindexed(ColumnElement[Any]):  # noqa: N801
    """``column``, but SQLite looks for no row by it (sqlite.org/optoverview.html#uplus).

    Without statistics it takes the most selective index to be the one with most columns named.
    """

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column
        self.type = column.type


@compiles(unindexed)
def _unindexed(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.column, **options)


@compiles(unindexed, "sqlite")
def _unindexed_in_sqlite(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.column, **options)}"
