"""The triggers of a fence, in the words of SQLite and of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, text

from mailqueue.outbox.tables import PREFIX

_NAME: Final = f"{PREFIX}fence_"
_FUNCTION: Final = f"{_NAME}refuse"
SQLSTATE: Final = "MQ001"
"""What PostgreSQL reports; the class MQ is nobody else's."""

GUARDED: Final = ("messages", "contents", "recipients", "attempts", "actions")
"""The tables that hold mail, and what became of it."""
_CLAIMS: Final = "NEW.state = 'sending' AND OLD.state <> 'sending'"
_PAUSE: Final = "paused_at, paused_until, paused_by, pause_reason"
_PASSES: Final = f"coalesce((SELECT passes FROM {PREFIX}fence), 0)"  # noqa: S608 - a constant


def statements(dialect: str, refusal: str, *, is_open: bool) -> Iterator[str]:
    """Yield what makes writers fail with the text ``refusal``.

    ``is_open``: only for new mail and for claims; otherwise for whatever is written.
    """
    words = refusal.replace("'", "''")
    if dialect == "sqlite":
        yield from (_in_sqlite(*one, words) for one in _wanted(is_open=is_open))
        return
    yield _POSTGRESQL_FUNCTION
    yield from (_in_postgresql(*one, words) for one in _wanted(is_open=is_open))


def removal(connection: Connection) -> list[str]:
    """Return what takes all of them away."""
    if connection.dialect.name != "sqlite":
        return [f"DROP FUNCTION IF EXISTS {_FUNCTION}() CASCADE"]
    found = text(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, :n) = :x"
    )
    names = connection.execute(found, {"n": len(_NAME), "x": _NAME}).scalars()
    return [f"DROP TRIGGER {name}" for name in names]


_Wanted = tuple[str, str, str]
"""A table, what must not happen to it, and under which condition."""


def _wanted(*, is_open: bool) -> Iterator[_Wanted]:
    if is_open:
        yield "messages", "INSERT", ""
        yield "recipients", "INSERT", ""
        yield "recipients", "UPDATE OF state", _CLAIMS
        return
    for table in GUARDED:
        for event in ("INSERT", "UPDATE", "DELETE"):
            yield table, event, ""
    # What daemons write of their breakers says nothing of the mail; an operator's pause must not be
    # decided where nobody reads it.
    yield "relays", f"UPDATE OF {_PAUSE}", ""
    yield "relays", "INSERT", "NEW.paused_at IS NOT NULL"


def _name(table: str, event: str) -> str:
    return f"{_NAME}{table}_{event.split(maxsplit=1)[0].lower()}"


def _in_sqlite(table: str, event: str, condition: str, words: str) -> str:
    when = f"({condition}) AND {_PASSES} = 0" if condition else f"{_PASSES} = 0"
    return (
        f"CREATE TRIGGER {_name(table, event)} BEFORE {event} ON {PREFIX}{table} "
        f"FOR EACH ROW WHEN {when} BEGIN SELECT RAISE(ABORT, '{words}'); END"
    )


def _in_postgresql(table: str, event: str, condition: str, words: str) -> str:
    # One call for all rows of an INSERT; what changes no row may be written.
    rows = "STATEMENT" if event == "INSERT" and not condition else "ROW"
    when = f"WHEN ({condition}) " if condition else ""
    return (
        f"CREATE TRIGGER {_name(table, event)} BEFORE {event} ON {PREFIX}{table} "
        f"FOR EACH {rows} {when}EXECUTE FUNCTION {_FUNCTION}('{words}')"
    )


# With the search path of who makes it: writers may have another one.
_POSTGRESQL_FUNCTION: Final = f"""
CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF {_PASSES} = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '{SQLSTATE}', MESSAGE = TG_ARGV[0];
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$
"""
