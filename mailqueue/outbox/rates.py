"""The instants at which the recipients of a relay may be offered: given out in batches, once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from mailqueue.clock import MICROSECONDS, Clock, microseconds
from mailqueue.mail.rate import reserve
from mailqueue.outbox.moment import moment
from mailqueue.outbox.shares import lock
from mailqueue.outbox.tables import limits, shares

AHEAD_SECONDS = 0.5
"""How far ahead instants are given out."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``count`` instants, the first ``delay`` seconds from now and the others ``spacing`` apart.

    Where there are none ``delay`` tells when to ask again.
    """

    delay: float
    spacing: float
    count: int


def take(
    connection: Connection, relay: str, *, spacing: float, wanted: int, least: int, clock: Clock
) -> Batch:
    """Take up to ``wanted`` instants, an even part of what there is; ``least`` of them together.

    ``spacing`` in seconds, as configured here; where another daemon has a larger one, that holds.
    """
    lock(connection, relay)
    now = moment(connection, clock)
    lasting = (shares.c.relay == relay) & (shares.c.until_at > now)
    found = select(func.max(shares.c.spacing), func.count()).where(lasting)
    widest, daemons = connection.execute(found).one()
    apart = max(spacing * MICROSECONDS, widest or 0.0)
    ahead = microseconds(AHEAD_SECONDS)
    part = max(1, round(ahead / apart / max(1, daemons)))
    next_at = connection.scalar(select(limits.c.next_at).where(limits.c.relay == relay))
    reserved = reserve(
        next_at or 0,
        now=now,
        spacing=apart,
        wanted=min(wanted, max(part, least)),
        least=least,
        ahead=ahead,
    )
    if not reserved.count:
        return Batch((reserved.first_at - now - ahead) / MICROSECONDS, apart / MICROSECONDS, 0)
    named = limits.c.relay == relay
    connection.execute(update(limits).where(named).values(next_at=reserved.next_at))
    return Batch((reserved.first_at - now) / MICROSECONDS, apart / MICROSECONDS, reserved.count)
