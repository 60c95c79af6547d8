"""What a delivery asks before it begins, and again before it writes its final dot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mailqueue.clock import Clock
from mailqueue.daemon.keeper import Keeper, LeaseEnd
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Route, Routing
from mailqueue.failpoint import reach
from mailqueue.mail.doubt import OnDoubt
from mailqueue.outbox.claim import mark_dot
from mailqueue.outbox.lease import Lease
from mailqueue.smtp.pool import Pool


@dataclass(frozen=True, slots=True)
class Leave:
    """Gives leave to the deliveries that one claim brought for one route.

    ``pool`` is the route's when it was claimed, and ``end`` that of the leases.
    """

    route: Route
    pool: Pool
    is_probe: bool
    end: LeaseEnd
    routing: Routing
    recorder: Recorder
    keeper: Keeper
    clock: Clock
    is_fenced: Callable[[], bool]

    async def may_begin(self) -> bool:
        """Whether a transaction may begin now; waits while results are too long unwritten."""
        if self.recorder.is_behind:
            await self.recorder.caught_up()
        route = self.route
        if self.is_fenced():
            return False
        if self.routing.pauses and self.routing.is_paused(route.name, now=self.clock.now()):
            return False
        if not route.has_share(self.clock):
            return False
        return route.uses(self.pool) and (self.is_probe or route.breaker.is_closed)

    def may_write_dot(self, leases: Sequence[Lease], on_doubt: OnDoubt) -> bool | Awaitable[bool]:
        """Whether ``leases`` are ours; where doubt is held, it is marked durably first."""
        if not self.keeper.holds(leases, self.end):
            return False
        return on_doubt is OnDoubt.RETRY or self._mark(leases)

    async def _mark(self, leases: Sequence[Lease]) -> bool:
        now, worker = self.clock.now(), self.keeper.worker
        held = await self.recorder.write(
            lambda connection: mark_dot(connection, leases, worker=worker, now=now)
        )
        reach("after", "mark-dot-commit")
        return held
