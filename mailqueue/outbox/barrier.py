"""The triggers of a fence, in the words of SQLite and of PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, TextClause, text

from mailqueue.outbox.tables import PREFIX

_NAME: Final = f"{PREFIX}fence_"
_FUNCTION: Final = f"{_NAME}refuse"
SQLSTATE: Final = "MQ001"
"""What PostgreSQL reports; the class MQ is nobody else's."""

GUARDED: Final = ("messages", "contents", "recipients", "attempts", "actions")
"""The tables that hold mail, and what became of it."""


def build(connection: Connection, refusal: str, *, is_open: bool) -> None:
    """Let writers fail with the text ``refusal``, in place of what they may fail with now.

    ``is_open``: only new mail and claims; otherwise whatever is written.
    """
    wanted = list(_wanted(is_open=is_open))
    if connection.dialect.name == "sqlite":
        remove(connection)
        statements = [_in_sqlite(one, refusal.replace("'", "''")) for one in wanted]
    else:
        # Those that stand stay: to take one away waits even for those who only read.
        there = set(connection.scalars(_STANDING_IN_POSTGRESQL, _BEGINNING))
        missing = [_in_postgresql(one) for one in wanted if one.name not in there]
        statements = [_POSTGRESQL_FUNCTION, *missing]
    for statement in statements:
        connection.execute(_literally(statement))


def remove(connection: Connection) -> None:
    """Take all of them away."""
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"DROP FUNCTION IF EXISTS {_FUNCTION}() CASCADE"))
        return
    for name in connection.scalars(_STANDING_IN_SQLITE, _BEGINNING).all():
        connection.execute(text(f"DROP TRIGGER {name}"))


@dataclass(frozen=True, slots=True)
class _Trigger:
    """What must not happen to a table, and under which condition."""

    table: str
    event: str
    called: str
    condition: str = ""

    @property
    def name(self) -> str:
        return f"{_NAME}{self.table}_{self.called}"


def _wanted(*, is_open: bool) -> Iterator[_Trigger]:
    yield _Trigger("messages", "INSERT", "insert")
    yield _Trigger("recipients", "INSERT", "insert")
    claims = "NEW.state = 'sending' AND OLD.state <> 'sending'"
    yield _Trigger("recipients", "UPDATE OF state", "claim", claims)
    if is_open:
        return
    for table in GUARDED:
        yield _Trigger(table, "UPDATE", "update")
        yield _Trigger(table, "DELETE", "delete")
    for table in ("contents", "attempts", "actions"):
        yield _Trigger(table, "INSERT", "insert")
    # What daemons write of their breakers says nothing of the mail; an operator's pause must not be
    # decided where nobody reads it.
    pause = "UPDATE OF paused_at, paused_until, paused_by, pause_reason"
    yield _Trigger("relays", pause, "pause")
    yield _Trigger("relays", "INSERT", "insert", "NEW.paused_at IS NOT NULL")


_PASSES: Final = f"coalesce((SELECT passes FROM {PREFIX}fence), 0)"  # noqa: S608 - a constant


def _in_sqlite(one: _Trigger, words: str) -> str:
    when = f"({one.condition}) AND {_PASSES} = 0" if one.condition else f"{_PASSES} = 0"
    return (
        f"CREATE TRIGGER {one.name} BEFORE {one.event} ON {PREFIX}{one.table} "
        f"FOR EACH ROW WHEN {when} BEGIN SELECT RAISE(ABORT, '{words}'); END"
    )


def _in_postgresql(one: _Trigger) -> str:
    # One call for all rows of an INSERT; what changes no row may be written.
    rows = "STATEMENT" if one.event == "INSERT" and not one.condition else "ROW"
    when = f"WHEN ({one.condition}) " if one.condition else ""
    return (
        f"CREATE TRIGGER {one.name} BEFORE {one.event} ON {PREFIX}{one.table} "
        f"FOR EACH {rows} {when}EXECUTE FUNCTION {_FUNCTION}()"
    )


# With the search path of who makes it: writers may have another one.
_POSTGRESQL_FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF {_PASSES} = 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = '{SQLSTATE}', MESSAGE = (SELECT said FROM {PREFIX}fence LIMIT 1);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$
"""  # noqa: S608 - constants

_BEGINNING: Final = {"length": len(_NAME), "beginning": _NAME, "function": _FUNCTION}
_STANDING_IN_SQLITE: Final = text(
    "SELECT name FROM sqlite_schema"
    " WHERE type = 'trigger' AND substr(name, 1, :length) = :beginning"
)
_STANDING_IN_POSTGRESQL: Final = text(
    "SELECT tgname FROM pg_trigger"
    " WHERE substr(tgname, 1, :length) = :beginning AND tgfoid = to_regproc(:function)"
)


def _literally(statement: str) -> TextClause:
    """Return ``statement`` as it is, though there may be colons in it, as in a URL."""
    return text(re.sub(r":(?=\w)", r"\\:", statement))
