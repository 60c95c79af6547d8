"""How the relays stand: breaker, pause, and what waits for each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from mailqueue.errors import UnknownRelayError
from mailqueue.outbox.allotment import Allotment, allotments
from mailqueue.outbox.moment import present
from mailqueue.outbox.queues import Queue, queues
from mailqueue.outbox.relays import RelayRow, default_of, load
from mailqueue.outbox.tables import DEFAULT_RELAY


@dataclass(frozen=True, slots=True)
class RelayStanding:
    """One relay, with the mail for it: if it is the default one, also that which names none.

    ``row`` is None where no daemon has written of it, ``is_known`` false where only mail names it;
    ``allotment`` is None where none has a share of its limits.
    """

    name: str
    row: RelayRow | None
    queue: Queue
    is_default: bool
    is_known: bool = True
    allotment: Allotment | None = None


def standings(
    connection: Connection, configured: Collection[str], *, default: str | None
) -> list[RelayStanding]:
    """Return the standing of each relay that is ``configured``, has a row, or has mail waiting."""
    rows, found = load(connection), queues(connection)
    default = default_of(rows.values(), default)
    if default is not None and DEFAULT_RELAY in found and default != DEFAULT_RELAY:
        found[default] = found.get(default, Queue()) + found.pop(DEFAULT_RELAY)
    known = {*configured, *rows}
    allotted = allotments(connection, now=present(connection))
    return [
        RelayStanding(
            name,
            rows.get(name),
            found.get(name, Queue()),
            name == default,
            name in known,
            allotted.get(name),
        )
        for name in sorted(known | found.keys())
    ]


def known(
    connection: Connection, relay: str, configured: Collection[str], *, default: str | None
) -> str:
    """Return the name of ``relay``; "default" is the one that takes mail which names none.

    Raises `UnknownRelayError` where it is neither ``configured`` nor has a row.
    """
    rows = load(connection)
    names = {*configured, *rows}
    found = default_of(rows.values(), default) if relay == DEFAULT_RELAY else relay
    if relay not in names and found not in names:
        raise UnknownRelayError(relay, names)
    return relay if relay in names or found is None else found
