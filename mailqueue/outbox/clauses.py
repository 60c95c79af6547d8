"""Conditions that SQLite and PostgreSQL say in different words."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import BindParameter, Column, Connection, Select, any_, bindparam, func
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


class among_found(ColumnElement[bool]):  # noqa: N801
    """The condition that ``column`` is one of the ids that ``found`` selects.

    PostgreSQL makes a list of them first. As a join it would choose by its statistics: those of a
    table that has just been emptied tell of one row, and for one row a walk costs what a seek does.
    """

    inherit_cache = False

    def __init__(self, column: Column[int], found: Select[int]) -> None:
        self.column = column
        self.found = found


@compiles(among_found)
def _among_found(element: among_found, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.column.in_(element.found), **options)


@compiles(among_found, "postgresql")
def _listed_first(element: among_found, compiler: SQLCompiler, **options: Any) -> str:
    array = func.array(element.found.scalar_subquery())
    return compiler.process(element.column == any_(array), **options)


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
