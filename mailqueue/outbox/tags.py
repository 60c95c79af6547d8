"""A message's tags in SQL: a JSON object in a column, which anybody may have written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# A flat object, which is what tags are: to cast what is no JSON is an error, and to ask by IS JSON
# is not possible before PostgreSQL 16.
_STRING = r'"([^"\\\x01-\x1f]|\\["\\/bfnrt])*"'
_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?"
_PAIR = rf"\s*{_STRING}\s*:\s*({_STRING}|{_NUMBER}|true|false|null)\s*"
_OBJECT = rf"^\s*\{{({_PAIR}(,{_PAIR})*)?\s*\}}\s*$"


class HasTag(FunctionElement[bool]):
    """Whether the column of tags holds ``key`` with ``value``; whatever is in it, no error."""

    type = Boolean()
    inherit_cache = True


@compiles(HasTag)
def _on_sqlite(element: HasTag, compiler: SQLCompiler, **options: Any) -> str:
    tags, key, value = (compiler.process(part, **options) for part in element.clauses)
    # Not by a JSON path, in which a key with a quotation mark cannot be written.
    objects = f"CASE WHEN json_valid({tags}) THEN {tags} ELSE '{{}}' END"
    given = f"tag.key = {key} AND CAST(tag.value AS TEXT) = {value}"
    return f"EXISTS (SELECT 1 FROM json_each({objects}) AS tag WHERE {given})"  # noqa: S608 - compiled SQL


@compiles(HasTag, "postgresql")
def _on_postgresql(element: HasTag, compiler: SQLCompiler, **options: Any) -> str:
    tags, key, value = (compiler.process(part, **options) for part in element.clauses)
    given = f"CAST({tags} AS json) ->> {key} = {value}"
    return f"CASE WHEN {tags} ~ '{_OBJECT}' THEN {given} ELSE false END"
