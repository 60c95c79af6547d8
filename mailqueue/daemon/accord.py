"""Brings the breakers into accord with what other daemons have found, and lets one of all probe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection

from mailqueue.clock import Clock, microseconds
from mailqueue.daemon.breaker import Breaker, Position
from mailqueue.daemon.routing import Route
from mailqueue.events import Emit, RelayPausedElsewhere, RelayResumed
from mailqueue.outbox import probes
from mailqueue.outbox.relays import RelayRow, load

COURTESY = 2.0
"""How long whoever met the trouble leaves the probe to others: it may be his own (seconds)."""
LEAVE = 10.0
"""How long the leave to probe stays with one who has no mail that could be sent (seconds)."""
Step = Callable[[Connection], bool]
"""A transaction of its own; returns whether it has got what it wanted."""


@dataclass(frozen=True, slots=True)
class News:
    """The relays' rows, and who is on its way to probe, by the relay's name."""

    rows: Mapping[str, RelayRow]
    probers: Mapping[str, str]

    @classmethod
    def read(cls, connection: Connection) -> News:
        """Read them."""
        return cls(load(connection), probes.probers(connection))


@dataclass(slots=True)
class _Standing:
    """What was last read of a relay, until when we have leave to probe it, and from when on we
    may ask for it again (monotonic seconds).
    """

    seen: RelayRow | None = None
    leave_until: float = 0.0
    again_at: float = 0.0


@dataclass(slots=True)
class Accord:
    """Decides what news mean for our breakers; whoever asks it reads and writes."""

    worker: str
    clock: Clock
    emit: Emit
    _standings: dict[str, _Standing] = field(default_factory=dict)

    def alone(self, route: Route) -> None:
        """Let our own findings be all that counts: nobody else is there."""
        route.breaker.is_shared = False
        self._standings.pop(route.name, None)

    def hear(self, route: Route, news: News) -> bool:
        """Take up what others have found; returns whether the breaker has moved."""
        breaker, row = route.breaker, news.rows.get(route.name)
        standing = self._standings.setdefault(route.name, _Standing())
        if not breaker.is_shared:
            breaker.is_shared, breaker.shown = True, breaker.condition
        if row is None or not (breaker.is_shown or breaker.is_ours_alone):
            # What we have found is not written yet, and is younger.
            return False
        row = _breakers(row)
        if row == standing.seen:
            return False
        standing.seen = row
        if breaker.has_shown(row):
            return False
        return self._adopt(breaker, row)

    def _adopt(self, breaker: Breaker, row: RelayRow) -> bool:
        seconds = breaker.adopt(row, now=self.clock.now())
        if not breaker.is_ours_alone:
            breaker.shown = breaker.condition
        if seconds is None:
            return False
        if breaker.is_closed:
            self.emit(RelayResumed(breaker.relay, seconds))
        else:
            self.emit(RelayPausedElsewhere(breaker.relay, str(row.stage), row.text or "", seconds))
        return True

    def step(self, route: Route, news: News, living: Collection[str]) -> Step | None:
        """Return what is to be written: that we probe, or that we no longer do."""
        breaker, now = route.breaker, self.clock.monotonic()
        standing = self._standings[route.name]
        prober = news.probers.get(route.name)
        if prober == self.worker:
            if breaker.condition.position is Position.PROBING:
                return None
            if breaker.has_leave and now < standing.leave_until:
                return None
            if breaker.has_leave:
                breaker.has_leave, standing.again_at = False, now + COURTESY
            return partial(_released, worker=self.worker, relay=route.name)
        if prober in living or standing.seen is None or not self._may_claim(route, standing):
            return None
        return partial(probes.claim, worker=self.worker, seen=standing.seen, living=living)

    def _may_claim(self, route: Route, standing: _Standing) -> bool:
        breaker, now = route.breaker, self.clock.now()
        if not breaker.is_open or breaker.is_ours_alone or not route.pool.limit:
            return False
        if self.clock.monotonic() < standing.again_at:
            return False
        courtesy = 0 if breaker.condition.evidence is None else microseconds(COURTESY)
        return breaker.is_time_to_probe(now - courtesy)

    def has_leave(self, route: Route) -> None:
        """Let the breaker send a probe."""
        route.breaker.has_leave = True
        self._standings[route.name].leave_until = self.clock.monotonic() + LEAVE


def _released(connection: Connection, *, worker: str, relay: str) -> bool:
    probes.release(connection, worker, relay)
    return False


def _breakers(row: RelayRow) -> RelayRow:
    """Return what the row says of the breaker, without what changes while that stands still."""
    return replace(
        row,
        last_success_at=None,
        paused_at=None,
        paused_until=None,
        paused_by=None,
        pause_reason=None,
        is_default=False,
    )
