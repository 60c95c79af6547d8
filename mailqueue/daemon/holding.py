"""What this daemon has of one relay's limits, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailqueue.daemon.routing import Route
from mailqueue.outbox import shares
from mailqueue.outbox.shares import Share
from mailqueue.smtp.pool import Pool

TENURE_SECONDS = 10.0
"""How long a share lasts where a worker that dies leaves no proof of it."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """How long a share lasts without renewal, and how often it is renewed (seconds)."""

    lasts: float
    renewed: float

    @property
    def trusted(self) -> float:
        """How long its holder relies on it: clocks of others are a little ahead."""
        return 0.9 * self.lasts

    @classmethod
    def of(cls, lease: float, heartbeat: float, *, has_locks: bool) -> Tenure:
        """Return that of a daemon with these settings.

        Where a lock proves a death, only a stalled worker keeps its share, and as long as its mail.
        Elsewhere silence is all that there is to tell.
        """
        if has_locks:
            return cls(lease, heartbeat)
        lasts = min(lease, TENURE_SECONDS)
        return cls(lasts, lasts / 4)


@dataclass(slots=True)
class Holding:
    """What this daemon has at one relay.

    ``leaving`` are the pools of earlier settings, whose connections count until they are closed.
    """

    name: str
    route: Route
    pool: Pool
    leaving: list[Pool] = field(default_factory=list)
    share: Share | None = None
    demand: int = 0

    def follow(self, route: Route | None) -> None:
        """Take up what a reload has made of it; None: the relay is configured no more."""
        pool = None if route is None else route.pool
        if pool is not self.pool and self.pool not in self.leaving:
            self.leaving.append(self.pool)
        if route is not None:
            self.route, self.pool = route, route.pool
        self.leaving = [one for one in self.leaving if one.connected and one is not pool]

    @property
    def is_in_force(self) -> bool:
        """Whether mail may go there."""
        return self.route.is_in_force

    @property
    def elsewhere(self) -> int:
        """How many connections stand that the pool in force does not know of."""
        return sum(pool.connected for pool in self.leaving)

    @property
    def needs(self) -> int:
        """How many connections it cannot do without now: they stand, or may be opened."""
        if not self.is_in_force:
            return self.elsewhere
        return self.elsewhere + max(self.pool.connected, self.pool.limit)

    def allow(self, connections: int) -> None:
        """Let the pool have what is left of so many."""
        if self.is_in_force:
            self.pool.resize(max(0, connections - self.elsewhere))


def is_news(asked: Share, had: Share | None, others: Sequence[Share], due_to_us: int) -> bool:
    """Whether it must be written: others should know of it, or there is something to take."""
    if had is None:
        return True
    if (asked.connections, asked.spacing) != (had.connections, had.spacing):
        return True
    differs = asked.wanted != had.wanted
    if others and (differs or asked.granted < had.granted):
        return True
    free = shares.allowed((asked, *others)) - sum(other.granted for other in others)
    return min(due_to_us, free) > asked.granted
