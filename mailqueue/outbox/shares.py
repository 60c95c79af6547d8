"""What each worker has of a relay's limits: claimed, held for a while, and given back.

Whoever changes a share locks the relay's row in `limits` first, in a transaction of its own: the
sum is right at every commit. A share ends with its time or with its worker, and everybody may clear
it away then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)

from mailqueue.clock import Clock, microseconds
from mailqueue.mail.division import Claim, divide
from mailqueue.outbox.moment import moment
from mailqueue.outbox.tables import limits, shares


@dataclass(frozen=True, slots=True)
class Share:
    """What ``worker`` has of the limits of ``relay``.

    ``connections`` is what its own configuration allows, ``wanted`` how many it could use,
    ``granted`` how many it may have, ``spacing`` the microseconds between two recipients where its
    configuration limits the rate; it lasts until ``until_at`` (epoch microseconds, by the clock of
    `moment`).
    """

    relay: str
    worker: str
    connections: int
    wanted: int = 0
    granted: int = 0
    spacing: float | None = None
    until_at: int = 0


def look(connection: Connection, clock: Clock) -> list[Share]:
    """Return the shares that last."""
    rows = connection.execute(_LASTING, {"now": moment(connection, clock)})
    return [Share(**row) for row in rows.mappings()]


def target(mine: Share, others: Iterable[Share], *, to_come: int = 0) -> int:
    """Return how many connections ``mine`` should have, beside those of the same relay.

    ``to_come``: how many more are about to ask for as much as they can get.
    """
    every = (mine, *others)
    limit = allowed(every)
    claims = [Claim(one.worker, one.wanted, one.granted) for one in every]
    # No worker's name begins so, and of what is left over they get nothing.
    claims += [Claim(f"~{number}", limit) for number in range(to_come)]
    return divide(limit, claims)[mine.worker]


def allowed(every: Iterable[Share]) -> int:
    """Return how many connections all may have: the least of what is configured."""
    return min(share.connections for share in every)


def settle(
    connection: Connection,
    asked: Share,
    *,
    seconds: float,
    dead: Collection[str],
    clock: Clock,
    to_come: int = 0,
) -> Share:
    """Write the share of one worker and return it, to last for so many seconds.

    ``asked.granted`` is what it keeps, because it has that open or may open it at any time; it
    gets more as far as that is due to it and nobody else has it. ``dead`` are workers proven so;
    for ``to_come`` see `target`.
    """
    lock(connection, asked.relay)
    now = moment(connection, clock)
    _clear(connection, asked, dead=dead, now=now)
    found = connection.execute(_OF_RELAY, {"relay": asked.relay, "worker": asked.worker})
    others = [Share(**row) for row in found.mappings()]
    free = allowed((asked, *others)) - sum(other.granted for other in others)
    granted = max(asked.granted, min(target(asked, others, to_come=to_come), free))
    share = replace(asked, granted=granted, until_at=now + microseconds(seconds))
    connection.execute(insert(shares).values(**asdict(share)))
    return share


def lock(connection: Connection, relay: str) -> None:
    """Let nobody else change what the limits of ``relay`` say, until the commit."""
    connection.execute(_ENTER, {"relay": relay})
    connection.execute(select(limits.c.relay).where(limits.c.relay == relay).with_for_update())


def _clear(connection: Connection, asked: Share, *, dead: Collection[str], now: int) -> None:
    """Remove the shares that are over, and the one that is about to be written anew."""
    over = (shares.c.until_at <= now) | shares.c.worker.in_([asked.worker, *dead])
    connection.execute(delete(shares).where(shares.c.relay == asked.relay, over))


def renew(connection: Connection, worker: str, *, seconds: float, clock: Clock) -> set[str]:
    """Let the shares of ``worker`` last for so many seconds from now.

    Returns the relays of which it still had one; one that was over is not revived.
    """
    now = moment(connection, clock)
    lasting = (shares.c.worker == worker) & (shares.c.until_at > now)
    connection.execute(update(shares).where(lasting).values(until_at=now + microseconds(seconds)))
    return set(connection.scalars(select(shares.c.relay).where(lasting)))


def leave(connection: Connection, worker: str, relays: Sequence[str] | None = None) -> None:
    """Give back the shares of ``worker``: all of them, or those of ``relays``."""
    statement = delete(shares).where(shares.c.worker == worker)
    if relays is not None:
        statement = statement.where(shares.c.relay.in_(relays))
    connection.execute(statement)


_LASTING: Final = select(shares).where(shares.c.until_at > bindparam("now"))
_OF_RELAY: Final = select(shares).where(
    shares.c.relay == bindparam("relay"), shares.c.worker != bindparam("worker")
)
_ENTER: Final = text(
    "INSERT INTO mailqueue_limits (relay) VALUES (:relay) ON CONFLICT (relay) DO NOTHING"
)
