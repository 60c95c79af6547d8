"""How the relays stand: breaker, pause, and what waits for each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from mailqueue.errors import UnknownRelayError
from mailqueue.outbox.queues import Queue, queues
from mailqueue.outbox.relays import RelayRow, default_of, load
from mailqueue.outbox.tables import DEFAULT_RELAY


@dataclass(frozen=True, slots=True)
class RelayStanding:
    """One relay, with the mail for it: if it is the default one, also that which names none.

    ``row`` is None where no daemon has written of it, ``is_known`` false where only mail names it.
    """

    name: str
    row: RelayRow | None
    queue: Queue
    is_default: bool
    is_known: bool = True


def standings(
    connection: Connection, configured: Collection[str], *, default: str | None
) -> list[RelayStanding]:
    """Return the standing of each relay that is ``configured``, has a row, or has mail waiting."""
    rows, found = load(connection), queues(connection)
    default = default_of(rows.values(), default)
    if default is not None and DEFAULT_RELAY in found and default != DEFAULT_RELAY:
        found[default] = found.get(default, Queue()) + found.pop(DEFAULT_RELAY)
    known = {*configured, *rows}
    return [
        RelayStanding(
            name, rows.get(name), found.get(name, Queue()), name == default, name in known
        )
        for name in sorted(known | found.keys())
    ]


def check_known(connection: Connection, relay: str, configured: Collection[str]) -> None:
    """Raise `UnknownRelayError` unless ``relay`` is ``configured`` or has a row."""
    known = {*configured, *load(connection)}
    if relay not in known:
        raise UnknownRelayError(relay, known)
