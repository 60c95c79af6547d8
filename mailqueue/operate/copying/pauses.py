"""The relays of the source in the target: what an operator has decided goes along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, insert, select, update

from mailqueue.operate.copying.rows import Form
from mailqueue.outbox.tables import relays

_PAUSE: Final = ("paused_at", "paused_until", "paused_by", "pause_reason")


Relay: TypeAlias = dict[str, Any]
"""A row of a relay, by the names of its columns."""


def read(connection: Connection) -> list[Relay]:
    """Return the rows of all relays."""
    form, names = Form(relays), relays.c.keys()
    rows = connection.execute(select(relays).order_by(relays.c.name))
    return [dict(zip(names, form(tuple(row)), strict=True)) for row in rows]


def write(connection: Connection, rows: Sequence[Relay]) -> None:
    """Put ``rows`` in; where a daemon has written of the same relay, only the pause.

    That daemon knows better how the relay is, and which one is its default.
    """
    there = {row["name"]: row for row in read(connection)}
    has_default = any(row["is_default"] for row in there.values())
    for row in rows:
        name = row["name"]
        if name in there:
            pause = {column: row[column] for column in _PAUSE}
            connection.execute(update(relays).where(relays.c.name == name).values(**pause))
        else:
            is_default = row["is_default"] and not has_default
            connection.execute(insert(relays).values({**row, "is_default": is_default}))


def pauses_of(rows: Sequence[Relay]) -> dict[str, tuple[Any, ...]]:
    """Return what is to be the same on both sides: each relay's pause, by its name."""
    return {row["name"]: tuple(row[column] for column in _PAUSE) for row in rows}
