"""What all daemons together may do at a relay, and how it is shared out just now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from mailqueue.outbox.tables import limits, shares

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Allotment:
    """The limits of one relay, as the daemons that run now have configured them.

    ``configured``: the connections that each of them allows, ``granted``: those that each has, in
    the same order; ``spacing``: microseconds between two recipients, where the rate is limited;
    ``next_at``: when the next may be offered (epoch microseconds).
    """

    configured: tuple[int, ...]
    granted: tuple[int, ...]
    spacing: float | None = None
    next_at: int | None = None

    @property
    def connections(self) -> int:
        """How many all may have together: the least that anybody has configured."""
        return min(self.configured)

    @property
    def rate(self) -> str | None:
        """Its rate as one writes it, such as "14/s"; None without one."""
        if self.spacing is None:
            return None
        counts = {unit: seconds * 1e6 / self.spacing for unit, seconds in _UNITS.items()}
        whole = (unit for unit, count in counts.items() if abs(count - round(count)) < 1e-3 * count)
        unit = next((unit for unit in whole if round(counts[unit])), "d")
        return f"{round(counts[unit]):d}/{unit}"

    def is_used_up(self, *, now: int) -> bool:
        """Whether the rate lets no recipient go now."""
        return self.spacing is not None and self.next_at is not None and self.next_at > now


def allotments(connection: Connection, *, now: int) -> Mapping[str, Allotment]:
    """Return what is allotted of each relay of which a daemon has a share at ``now``."""
    columns = shares.c
    statement = (
        select(columns.relay, columns.connections, columns.granted, columns.spacing)
        .where(columns.until_at > now)
        .order_by(columns.relay, columns.granted.desc(), columns.worker)
    )
    next_at = {row.relay: row.next_at for row in connection.execute(select(limits))}
    found: dict[str, Allotment] = {}
    for relay, connections, granted, spacing in connection.execute(statement):
        before = found.get(relay, Allotment((), (), None, next_at.get(relay)))
        spacings = [one for one in (before.spacing, spacing) if one is not None]
        found[relay] = Allotment(
            (*before.configured, connections),
            (*before.granted, granted),
            max(spacings, default=None),
            before.next_at,
        )
    return found
