"""The breaker of each relay as rows, so that SQL can say why mail waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select, update

from mailqueue.failpoint import reach
from mailqueue.outbox.tables import relays


@dataclass(frozen=True, slots=True)
class RelayRow:
    """What is known of a relay. Instants in epoch microseconds.

    ``breaker`` is ``closed``, ``open`` or ``probing``; ``probe_at`` the instant of the next
    probe; stage, code, enhanced and text are those of the last trouble. ``is_default``: it
    takes the mail that names no relay.
    """

    name: str
    breaker: str
    since: int
    probe_at: int | None = None
    troubles: int = 0
    stage: str | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    last_trouble_at: int | None = None
    last_success_at: int | None = None
    is_default: bool = False


def show(connection: Connection, rows: Sequence[RelayRow]) -> None:
    """Write the rows of all relays that are configured, and which of them is the default.

    All others are removed: no mail waits for them any more. A second daemon that has other relays
    writes theirs again with the next news of them.
    """
    names = [row.name for row in rows]
    connection.execute(delete(relays).where(relays.c.name.not_in(names)))
    connection.execute(update(relays).values(is_default=False))
    for row in rows:
        save(connection, row)
        if row.is_default:
            named = relays.c.name == row.name
            connection.execute(update(relays).where(named).values(is_default=True))


def save(connection: Connection, row: RelayRow) -> None:
    """Write how one relay is, whether or not there is a row of it.

    Which one is the default stays as it is: with two daemons that differ in it, the one that
    was configured last is right.
    """
    values = asdict(row)
    name = values.pop("name")
    del values["is_default"]
    changed = connection.execute(update(relays).where(relays.c.name == name).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(relays).values(name=name, **values))
    reach("before", "breaker-commit")


def load(connection: Connection) -> dict[str, RelayRow]:
    """Return all rows by relay name."""
    rows = connection.execute(select(relays)).mappings()
    return {row["name"]: RelayRow(**{**row, "is_default": bool(row["is_default"])}) for row in rows}
