"""The breaker of each relay as rows, so that SQL can say why mail waits."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select, update

from mailqueue.outbox.tables import relays


@dataclass(frozen=True, slots=True)
class RelayRow:
    """What is known of a relay. Instants in epoch microseconds.

    ``breaker`` is ``closed``, ``open`` or ``probing``; ``probe_at`` the instant of the next
    probe; stage, code, enhanced and text are those of the last trouble.
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


def save(connection: Connection, row: RelayRow) -> None:
    """Write the row of one relay, whether or not there is one."""
    values = asdict(row)
    name = values.pop("name")
    changed = connection.execute(update(relays).where(relays.c.name == name).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(relays).values(name=name, **values))


def load(connection: Connection) -> dict[str, RelayRow]:
    """Return all rows by relay name."""
    rows = connection.execute(select(relays)).mappings()
    return {row["name"]: RelayRow(**row) for row in rows}
