"""The breaker of each relay as rows, so that SQL can say why mail waits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, text, update

from mailqueue.failpoint import reach
from mailqueue.outbox.tables import DEFAULT_RELAY, relays, shares


@dataclass(frozen=True, slots=True)
class RelayRow:
    """What is known of a relay. Instants in epoch microseconds.

    ``breaker`` is ``closed``, ``open`` or ``probing``; ``probe_at`` the instant of the next
    probe; stage, code, enhanced and text are those of the last trouble. ``is_default``: it
    takes the mail that names no relay. The last four are an operator's pause, which stands beside
    the breaker and is written by `pauses` alone.
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
    paused_at: int | None = None
    paused_until: int | None = None
    paused_by: str | None = None
    pause_reason: str | None = None

    def is_paused(self, *, now: int) -> bool:
        """Whether an operator's pause is in force."""
        return self.paused_at is not None and (self.paused_until is None or now < self.paused_until)


def show(
    connection: Connection,
    rows: Sequence[RelayRow],
    *,
    worker: str = "",
    stale: Collection[str] = (),
) -> None:
    """Write the rows of all relays that are configured, and which of them is the default.

    All others are removed: no mail waits for them any more. Those stay of which another daemon
    than ``worker`` has a share, and those that are paused: nobody would write the pause again.
    ``stale`` are the names of those whose breakers are no news, see `save`.
    """
    names = [row.name for row in rows]
    theirs = select(shares.c.relay).where(shares.c.worker != worker)
    forgotten = delete(relays).where(
        relays.c.name.not_in(names),
        relays.c.name.not_in(theirs),
        relays.c.paused_at.is_(None),
    )
    connection.execute(forgotten)
    if any(row.is_default for row in rows):
        connection.execute(update(relays).values(is_default=False))
    for row in rows:
        save(connection, row, is_news=row.name not in stale)
        if row.is_default:
            named = relays.c.name == row.name
            connection.execute(update(relays).where(named).values(is_default=True))


def save(connection: Connection, row: RelayRow, *, is_news: bool = True) -> None:
    """Write how one relay is, whether or not there is a row of it.

    Where the breaker is no news, because it has not moved since it was last written or read here,
    only the last success is written: another daemon may have found more since.

    Which one is the default stays as it is: with two daemons that differ in it, the one that
    was configured last is right. A pause stays too: it is the operator's.
    """
    if not is_news and _has_touched(connection, row):
        return
    values = {key: value for key, value in asdict(row).items() if key not in _OTHERS}
    name = values.pop("name")
    change(connection, name, values, since=row.since)
    reach("before", "breaker-commit")


def change(connection: Connection, name: str, values: Mapping[str, Any], *, since: int) -> None:
    """Write ``values`` into the row of a relay, which is made if there is none.

    On PostgreSQL somebody else may make it at the same moment: then it is his that is changed.
    """
    statement = update(relays).where(relays.c.name == name).values(**values)
    if connection.execute(statement).rowcount == 0:
        connection.execute(_ENTER, {"name": name, "since": since})
        connection.execute(statement)


_ENTER: Final = text(
    "INSERT INTO mailqueue_relays (name, breaker, since) VALUES (:name, 'closed', :since)"
    " ON CONFLICT (name) DO NOTHING"
)


def _has_touched(connection: Connection, row: RelayRow) -> bool:
    at = func.coalesce(row.last_success_at, relays.c.last_success_at)
    named = relays.c.name == row.name
    return connection.execute(update(relays).where(named).values(last_success_at=at)).rowcount > 0


_OTHERS = ("is_default", "paused_at", "paused_until", "paused_by", "pause_reason")


def load(connection: Connection) -> dict[str, RelayRow]:
    """Return all rows by relay name."""
    rows = connection.execute(select(relays)).mappings()
    return {row["name"]: RelayRow(**{**row, "is_default": bool(row["is_default"])}) for row in rows}


def default_of(rows: Collection[RelayRow], configured: str | None) -> str | None:
    """Return the name of the relay for mail that names none, as far as anybody knows it.

    What a daemon wrote into the rows goes before what the caller's configuration says; without
    either, the only relay there is takes everything.
    """
    told = next((row.name for row in rows if row.is_default), configured)
    if told is None and len(rows) == 1:
        return next(iter(rows)).name
    return told


def named(relay: str, default: str | None) -> tuple[str, ...]:
    """Return the names that mail for ``relay`` carries: its own, and if it is one "default"."""
    return (relay, DEFAULT_RELAY) if relay == default else (relay,)
