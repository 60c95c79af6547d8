"""Free sessions, breakers and limits say how much is claimed; each message gets a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter

from mailqueue.clock import Clock
from mailqueue.daemon.bound import Bound
from mailqueue.daemon.crew import Crew
from mailqueue.daemon.delivery import Delivery, Terms
from mailqueue.daemon.keeper import Keeper, LeaseEnd
from mailqueue.daemon.leave import Leave
from mailqueue.daemon.reception import Reception
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.round import Haul, Plan, claim_round
from mailqueue.daemon.routing import Opening, Route, Routing
from mailqueue.daemon.service import Service
from mailqueue.daemon.showing import show
from mailqueue.errors import OutboxFencedError
from mailqueue.events import Emit, PartFailed
from mailqueue.failpoint import reach
from mailqueue.outbox.fence import Fence
from mailqueue.outbox.lease import LeasedMessage

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
        self._deliveries: dict[Delivery, Opening] = {}
        """Those claimed whose results are not all written."""
        self._crews: dict[Route, Crew] = {}
        self._changed = asyncio.Event()
        """Set whenever a delivery has ended."""
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
        return {delivery.message.id for delivery in self._deliveries}

    @property
    def past_dot(self) -> int:
        """How many of them are past the point where ending them would leave doubt."""
        return sum(crew.past_dot for crew in self._crews.values())

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
        self._begin(haul)
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
                self._send_away(route)
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
        if (crew := self._crews.get(route)) is not None:
            crew.withdraw("the relay was paused")

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
                await show(self._recorder, route)

    def _send_away(self, route: Route) -> None:
        """Hand back what waits for a relay at which nothing may begin."""
        if (crew := self._crews.get(route)) is not None:
            crew.turn_away("the relay was paused or replaced meanwhile")
        route.send_away()

    def _begin(self, haul: Haul) -> None:
        reach("after", "claim-commit")
        for opening, taken in groupby(haul.taken, attrgetter("opening")):
            make = self._maker(opening, haul.end)
            for one in taken:
                self._begin_one(make(one.message), opening)

    def _begin_one(self, delivery: Delivery, opening: Opening) -> None:
        route = opening.route
        if opening.is_probe:
            route.breaker.probe()
            self._moved.append(route)
        route.take_on(delivery.message.content.size, now=self._clock.monotonic())
        self._deliveries[delivery] = opening
        crew = self._crews.get(route)
        if crew is None:
            crew = self._crews[route] = Crew(self._failed)
        crew.take(delivery, places=route.places)
        if self.stopping:
            crew.interrupt("shutdown")
        elif self.fence is not None:
            crew.interrupt(self._fenced_by(self.fence))

    def _maker(self, opening: Opening, end: LeaseEnd) -> Callable[[LeasedMessage], Delivery]:
        """Return what makes deliveries of the mail that was claimed at ``opening``."""
        route, pool = opening.route, opening.route.pool
        leave = Leave(
            route,
            pool,
            opening.is_probe,
            end,
            self.routing,
            self._recorder,
            self._keeper,
            self._clock,
            is_fenced=lambda: self.fence is not None,
        )
        terms = Terms(
            route.name,
            self._keeper.worker,
            self.routing.policy_of(opening.queue),
            route.settings.most_recipients,
            is_stand_in=self.routing.relay_of(opening.queue) != route.name,
            ration=route.ration,
        )
        return partial(
            Delivery,
            terms=terms,
            pool=pool,
            clock=self._clock,
            may_begin=leave.may_begin,
            may_write_dot=leave.may_write_dot,
            settle=partial(self._reception.settle, route),
            ended=self._ended,
        )

    def _failed(self, error: Exception) -> None:
        self.emit(PartFailed("delivery", error))

    def _ended(self, delivery: Delivery) -> None:
        opening = self._deliveries.pop(delivery)
        route = opening.route
        route.in_flight -= 1
        route.octets -= delivery.message.content.size
        if opening.is_probe:
            route.breaker.probe_ended()
            self._moved.append(route)
        if opening.is_probe or route.wants_more:
            self.wake.ring()
        if not (route.is_in_force or route.in_flight):
            self._crews.pop(route, None)
        if self.stopping:
            self._changed.set()

    async def stop(self) -> None:
        """Claim no more, hand back what has not reached its final dot, and await the rest."""
        await super().stop()
        self.interrupt()
        await self._all_ended()

    def interrupt(self, why: str = "shutdown") -> None:
        """End the deliveries whose final dot has not been written."""
        for crew in tuple(self._crews.values()):
            crew.interrupt(why)

    def enclose(self, fence: Fence | None) -> None:
        """Claim nothing as long as ``fence`` stands, and let go of what is before its final dot."""
        self.fence = fence
        if fence is not None:
            self.interrupt(self._fenced_by(fence))
        self.wake.ring()

    @staticmethod
    def _fenced_by(fence: Fence) -> str:
        return f"the outbox {fence}"

    async def abort(self) -> None:
        """Cancel all deliveries; those past their final dot are recorded as in doubt."""
        self.stopping = True
        for crew in tuple(self._crews.values()):
            crew.abort()
        await self._all_ended()

    async def _all_ended(self) -> None:
        for crew in tuple(self._crews.values()):
            await crew.left()
        while self._deliveries:
            self._changed.clear()
            await self._changed.wait()
