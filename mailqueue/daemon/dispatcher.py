"""Free sessions, breakers and limits say how much is claimed; each message gets a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mailqueue.clock import Clock
from mailqueue.daemon.delivery import Delivery, Terms
from mailqueue.daemon.keeper import Keeper
from mailqueue.daemon.reception import Reception
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.round import Plan, Taken, claim_round
from mailqueue.daemon.routing import Route, Routing
from mailqueue.daemon.service import Service
from mailqueue.events import Emit, PartFailed
from mailqueue.failpoint import reach
from mailqueue.mail.doubt import OnDoubt
from mailqueue.outbox.claim import mark_dot
from mailqueue.outbox.lease import Lease

OCTETS_IN_FLIGHT = 64 * 1024 * 1024
"""How much content is held in memory at once, apart from a single larger message."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the dispatcher waits (seconds), and how many deliveries it runs at once."""

    deliveries: int
    poll: float
    poll_max: float


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
        self._recorder = recorder
        self._keeper = keeper
        self._reception = reception
        reception.freed = self.wake.ring
        keeper.in_flight = self.messages
        self._clock = clock
        self._deliveries: dict[asyncio.Task[None], Delivery] = {}
        self._octets = 0
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
            self.last_round = self._clock.monotonic()
            if await self.wake.wait(timeout):
                self._poll = self.pace.poll

    async def _round(self) -> float:
        """Claim what there is room for and send it on its way; returns seconds to wait."""
        plan = self._plan()
        if self.is_held or not plan.openings or plan.messages <= 0 or plan.octets <= 0:
            return self._until_probe(self.pace.poll_max)
        haul = await self._recorder.write(lambda connection: claim_round(connection, plan))
        for taken in haul.taken:
            self._begin(taken, haul.until)
        if haul.taken:
            self._poll = self.pace.poll
            return self._until_probe(self._poll)
        self._poll = min(self._poll * 1.5, self.pace.poll_max)
        return self._until_probe(self._until(haul.next_due, self._poll))

    def _plan(self) -> Plan:
        now = self._clock.now()
        return Plan(
            openings=self.routing.openings(now=now),
            queues=self.routing.queues,
            worker=self._keeper.worker,
            messages=self._free_deliveries,
            octets=OCTETS_IN_FLIGHT - self._octets,
            now=now,
            until=self._keeper.until(),
        )

    @property
    def _free_deliveries(self) -> int:
        settling = sum(route.settling for route in self.routing.routes)
        return self.pace.deliveries - len(self._deliveries) + settling

    def _until_probe(self, seconds: float) -> float:
        # A probe that was due already found no mail to probe with: there is nothing to wait for.
        probe_at = self.routing.next_probe(after=self._clock.now())
        return self._until(probe_at, seconds)

    def _until(self, at: int | None, most: float) -> float:
        if at is None:
            return most
        return min(max(0.0, (at - self._clock.now()) / 1e6), most)

    def _begin(self, taken: Taken, until: int) -> None:
        reach("after", "claim-commit")
        route, message = taken.opening.route, taken.message
        if taken.opening.is_probe:
            route.breaker.probe(now=self._clock.now())
        route.in_flight += 1
        self._octets += message.content.size
        delivery = self._delivery(taken, until)
        sending = asyncio.create_task(delivery.run(), name=f"delivery of {message.id}")
        self._deliveries[sending] = delivery
        sending.add_done_callback(partial(self._ended, route=route, octets=message.content.size))
        if self.stopping:
            delivery.end(sending)

    def _delivery(self, taken: Taken, until: int) -> Delivery:
        route, message, pool = taken.opening.route, taken.message, taken.opening.route.pool
        claimed_at = self._clock.monotonic()

        def may_begin() -> bool:
            return self.routing.uses(pool) and (taken.opening.is_probe or route.breaker.is_closed)

        async def may_write_dot(leases: Sequence[Lease], on_doubt: OnDoubt) -> bool:
            if not self._keeper.holds(until, claimed_at):
                return False
            return on_doubt is OnDoubt.RETRY or await self._mark(leases)

        terms = Terms(
            route.name,
            self._keeper.worker,
            self.routing.policy_of(message.relay),
            route.settings.recipients_per_transaction,
        )
        return Delivery(
            message,
            terms,
            pool=pool,
            seats=route.seats,
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

    def _ended(self, sending: asyncio.Task[None], *, route: Route, octets: int) -> None:
        del self._deliveries[sending]
        route.in_flight -= 1
        self._octets -= octets
        if route.in_flight == 0:
            route.breaker.probe_ended()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self.emit(PartFailed("delivery", error))
        self.wake.ring()

    async def stop(self) -> None:
        """Claim no more, hand back what has not reached its final dot, and await the rest."""
        await super().stop()
        self.interrupt()
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    def interrupt(self) -> None:
        """End the deliveries whose final dot has not been written."""
        for sending, delivery in self._deliveries.items():
            delivery.end(sending)

    async def abort(self) -> None:
        """Cancel all deliveries; those past their final dot are recorded as in doubt."""
        self.stopping = True
        for sending in self._deliveries:
            sending.cancel()
        while self._deliveries:
            await asyncio.wait(self._deliveries)
