"""Free sessions, breakers and limits say how much is claimed; each message gets a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mailqueue.clock import Clock
from mailqueue.daemon.bound import Bound
from mailqueue.daemon.delivery import Delivery, Terms
from mailqueue.daemon.keeper import Keeper, LeaseEnd
from mailqueue.daemon.reception import Reception
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.round import Plan, Taken, claim_round
from mailqueue.daemon.routing import Route, Routing
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxFencedError
from mailqueue.events import Emit, PartFailed
from mailqueue.failpoint import reach
from mailqueue.mail.doubt import OnDoubt
from mailqueue.outbox.claim import mark_dot
from mailqueue.outbox.fence import Fence
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.relays import save

OCTETS_IN_FLIGHT = 64 * 1024 * 1024
"""How much content is held in memory at once, apart from one larger message for each relay."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the dispatcher waits (seconds), and how many deliveries it runs at once.

    ``jitter``: the part of a wait that is left to chance.
    """

    deliveries: int
    poll: float
    poll_max: float
    jitter: float = 0.0

    def jittered(self, seconds: float, clock: Clock) -> float:
        """Return ``seconds``, less a random part of up to ``jitter`` of them."""
        return seconds * (1 - self.jitter * clock.random()) if self.jitter else seconds


def _nobody() -> None:
    return


class Dispatcher(Service):
    """Claims no more than can be sent at once, and waits on a wake or for the next due time."""

    def __init__(
        self,
        routing: Routing,
        recorder: Recorder,
        keeper: Keeper,
        reception: Reception,
        *,
        pace: Pace,
        clock: Clock,
        emit: Emit,
    ) -> None:
        super().__init__(emit)
        self.routing = routing
        self.pace = pace
        self.is_held = False
        self.fence: Fence | None = None
        self.fence_met: Callable[[], None] = _nobody
        """Called when a claim was refused by a fence that nobody has told of yet."""
        self._recorder = recorder
        self._keeper = keeper
        self._reception = reception
        reception.freed = self.wake.ring
        keeper.in_flight = self.messages
        self._clock = clock
        self._deliveries: dict[asyncio.Task[None], Delivery] = {}
        self._moved: list[Route] = []
        """Relays at which a probe has begun or ended, and SQL does not know it yet."""
        self._poll = pace.poll
        self.last_round = clock.monotonic()

    @property
    def in_flight(self) -> int:
        """How many deliveries are under way."""
        return len(self._deliveries)

    def messages(self) -> set[int]:
        """Return the ids of the messages that are being sent."""
        return {delivery.message.id for delivery in self._deliveries.values()}

    @property
    def past_dot(self) -> int:
        """How many of them are past the point where ending them would leave doubt."""
        return sum(delivery.is_past_dot for delivery in self._deliveries.values())

    async def _run(self) -> None:
        while not self.stopping:
            timeout = await self._round()
            await self._show_moved()
            self.last_round = self._clock.monotonic()
            if await self.wake.wait(timeout):
                self._poll = self.pace.poll

    async def _round(self) -> float:
        """Claim what there is room for and send it on its way; returns seconds to wait."""
        plan = self._plan()
        if self.is_held or self.fence is not None or not plan.open_queues:
            return self._until_probe(self.pace.poll_max)
        try:
            haul = await self._recorder.write(lambda connection: claim_round(connection, plan))
        except OutboxFencedError:
            self.fence_met()
            return self.pace.poll
        for taken in haul.taken:
            self._begin(taken, haul.end)
        if haul.taken:
            self.routing.turn()
            # There may be room for more: the claim was bounded by recipients, of whom one
            # message may have had so many that no other was among them.
            self._poll = self.pace.poll
            return 0.0
        self._poll = min(self._poll * 1.5, self.pace.poll_max)
        wait = self.pace.jittered(self._poll, self._clock)
        return self._until_probe(self._until(haul.next_due, wait))

    def _plan(self) -> Plan:
        for route in self.routing.routes:
            route.look_ahead(now=self._clock.monotonic())
            if self.routing.is_barred(route, now=self._clock.now()):
                route.pool.send_away()
            if self.routing.is_paused(route.name, now=self._clock.now()):
                self._withdraw(route)
        return Plan(
            openings=self.routing.openings(now=self._clock.now()),
            messages=self._bound(self.pace.deliveries, lambda route: route.under_way),
            octets=self._bound(OCTETS_IN_FLIGHT, lambda route: route.octets),
            worker=self._keeper.worker,
            lease=self._keeper.lease,
            clock=self._clock,
        )

    def _withdraw(self, route: Route) -> None:
        """Call back what waits in line on a session: a person lets nothing more go there."""
        for sending, delivery in self._deliveries.items():
            if delivery.terms.relay == route.name:
                delivery.withdraw(sending, "the relay was paused")

    def _bound(self, total: int, used_by: Callable[[Route], int]) -> Bound:
        used = {route.name: used_by(route) for route in self.routing.routes}
        return Bound(total, used, elsewhere=sum(map(used_by, self.routing.retired)))

    def _until_probe(self, seconds: float) -> float:
        # A probe that was due already found no mail to probe with: there is nothing to wait for.
        probe_at = self.routing.next_probe(after=self._clock.now())
        return self._until(probe_at, seconds)

    def _until(self, at: int | None, most: float) -> float:
        if at is None:
            return most
        return min(max(0.0, (at - self._clock.now()) / 1e6), most)

    async def _show_moved(self) -> None:
        routes, self._moved = self._moved, []
        for route in routes:
            if route.is_in_force:
                await self._recorder.write(partial(save, row=route.row()))

    def _begin(self, taken: Taken, end: LeaseEnd) -> None:
        reach("after", "claim-commit")
        route, message = taken.opening.route, taken.message
        if taken.opening.is_probe:
            route.breaker.probe()
            self._moved.append(route)
        route.in_flight += 1
        route.octets += message.content.size
        delivery = self._delivery(taken, end)
        sending = asyncio.create_task(delivery.run(), name=f"delivery of {message.id}")
        self._deliveries[sending] = delivery
        sending.add_done_callback(partial(self._ended, taken=taken))
        if self.stopping or self.fence is not None:
            delivery.end(sending)

    def _delivery(self, taken: Taken, end: LeaseEnd) -> Delivery:
        route, message, pool = taken.opening.route, taken.message, taken.opening.route.pool

        async def may_begin() -> bool:
            if self._recorder.is_behind:
                await self._recorder.caught_up()
            if self.fence is not None:
                return False
            if self.routing.is_paused(route.name, now=self._clock.now()):
                return False
            return route.uses(pool) and (taken.opening.is_probe or route.breaker.is_closed)

        async def may_write_dot(leases: Sequence[Lease], on_doubt: OnDoubt) -> bool:
            if not self._keeper.holds(leases, end):
                return False
            return on_doubt is OnDoubt.RETRY or await self._mark(leases)

        terms = Terms(
            route.name,
            self._keeper.worker,
            self.routing.policy_of(message.relay),
            route.settings.recipients_per_transaction,
            is_stand_in=self.routing.relay_of(message.relay) != route.name,
        )
        return Delivery(
            message,
            terms,
            pool=pool,
            clock=self._clock,
            may_begin=may_begin,
            may_write_dot=may_write_dot,
            settle=partial(self._reception.settle, route),
        )

    async def _mark(self, leases: Sequence[Lease]) -> bool:
        now, worker = self._clock.now(), self._keeper.worker
        held = await self._recorder.write(
            lambda connection: mark_dot(connection, leases, worker=worker, now=now)
        )
        reach("after", "mark-dot-commit")
        return held

    def _ended(self, sending: asyncio.Task[None], *, taken: Taken) -> None:
        route = taken.opening.route
        del self._deliveries[sending]
        route.in_flight -= 1
        route.octets -= taken.message.content.size
        if taken.opening.is_probe:
            route.breaker.probe_ended()
            self._moved.append(route)
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self.emit(PartFailed("delivery", error))
        if taken.opening.is_probe or route.wants_more:
            self.wake.ring()

    async def stop(self) -> None:
        """Claim no more, hand back what has not reached its final dot, and await the rest."""
        await super().stop()
        self.interrupt()
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    def interrupt(self, why: str = "shutdown") -> None:
        """End the deliveries whose final dot has not been written."""
        for sending, delivery in self._deliveries.items():
            delivery.end(sending, why)

    def enclose(self, fence: Fence | None) -> None:
        """Claim nothing as long as ``fence`` stands, and let go of what is before its final dot."""
        self.fence = fence
        if fence is not None:
            self.interrupt(f"the outbox {fence}")
        self.wake.ring()

    async def abort(self) -> None:
        """Cancel all deliveries; those past their final dot are recorded as in doubt."""
        self.stopping = True
        for sending in self._deliveries:
            sending.cancel()
        while self._deliveries:
            await asyncio.wait(self._deliveries)
