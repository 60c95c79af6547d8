"""Takes this daemon's share of each relay's limits, and hands over what others need more.

A pool may open what was granted and committed, and a grant shrinks only when the connections are
closed: so all daemons together never have more than the relay's limit. Whoever is alone has all of
it at once, and only looks now and then whether somebody has come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from mailqueue.clock import MICROSECONDS, Clock
from mailqueue.daemon.accord import Accord, News
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.holding import Holding, Tenure, is_news
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.routing import Route
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxError
from mailqueue.events import Emit
from mailqueue.outbox import shares
from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.due import have_due
from mailqueue.outbox.locks import is_dead
from mailqueue.outbox.shares import Share

LOOK_SECONDS = 0.5
"""How often each of several daemons looks at what the others have and need."""
CLOSING_SECONDS = 0.1
"""The same while it closes sessions that others wait for."""
REST_SECONDS = 1.0
"""Between two looks of one that is alone, however often it rings."""
STARTING_SECONDS = 2.0
"""For how long one of several processes that begin together leaves the others their part: taken and
given back, it would cost them a second."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a look has found: the shares that last, and the names with mail that is due."""

    shares: Sequence[Share]
    due: Set[str] = frozenset()
    news: News | None = None


class Shares(Service):
    """Looks at the shares of all daemons, and settles its own."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        database: Database,
        worker: str,
        *,
        tenure: Tenure,
        path: Path | None,
        clock: Clock,
        emit: Emit,
        siblings: int = 0,
    ) -> None:
        """``siblings``: how many other processes are being started together with this one."""
        super().__init__(emit)
        self.tenure = tenure
        self._dispatcher = dispatcher
        self._database = database
        self._worker = worker
        self._path = path
        self._clock = clock
        self._holdings: dict[str, Holding] = {}
        self._renewed_at = clock.monotonic()
        self._siblings = siblings
        self._started_at = clock.monotonic()
        self._to_come = 0
        """How many of them have not come yet."""
        self._is_alone = True
        self._looking = asyncio.Lock()
        self._accord = Accord(worker, clock, emit)

    async def _run(self) -> None:
        while not self.stopping:
            await self.look()
            await self._rest()

    async def look(self) -> None:
        """See what others have and need, and settle what is ours."""
        async with self._looking:
            self._follow()
            try:
                await self._renew()
                await self._settle_all(await self._database.read(self._sight))
            except OutboxError:
                # The recorder reports it. What we have lasts for its time, and no longer.
                return

    async def leave(self) -> bool:
        """Give everything back, at the end; returns whether that could be written."""
        try:
            await self._database.write(partial(shares.leave, worker=self._worker))
        except OutboxError:
            return False
        return True

    def _follow(self) -> None:
        """Take up the relays as they are configured now."""
        routes = {route.name: route for route in self._dispatcher.routing.routes}
        for name, route in routes.items():
            if name not in self._holdings:
                self._holdings[name] = Holding(name, route, route.pool)
        for name, holding in self._holdings.items():
            holding.follow(routes.get(name))

    # Time

    async def _renew(self) -> None:
        now = self._clock.monotonic()
        held = [one for one in self._holdings.values() if one.share is not None]
        if not held or now - self._renewed_at < self.tenure.renewed:
            return
        end = LeaseEnd.after(self.tenure.trusted, self._clock)
        renew = partial(
            shares.renew, worker=self._worker, seconds=self.tenure.lasts, clock=self._clock
        )
        renewed = await self._database.write(renew)
        self._renewed_at = now
        for holding in held:
            if holding.name in renewed:
                holding.route.tenure = end
            else:
                self._lapsed(holding)

    def _lapsed(self, holding: Holding) -> None:
        """Others may have it by now: whatever is open and idle is closed."""
        holding.share = None
        holding.pool.resize(0)

    # What is to be had

    def _sight(self, connection: Connection) -> _Sight:
        found = shares.look(connection, self._clock)
        others = {share.worker for share in found} - {self._worker}
        if not (others or self._missing(others)):
            return _Sight(found)
        queues = {name for one in self._holdings.values() for name in self._queues(one)}
        due = {name for name, _ in have_due(connection, tuple(queues), now=self._clock.now())}
        return _Sight(found, due, News.read(connection))

    def _queues(self, holding: Holding) -> tuple[str, ...]:
        return self._dispatcher.routing.queues_of(holding.route) if holding.is_in_force else ()

    async def _settle_all(self, sight: _Sight) -> None:
        workers = {share.worker for share in sight.shares} - {self._worker}
        dead = {one for one in workers if self._path is not None and is_dead(self._path, one)}
        self._to_come = self._missing(workers - dead)
        self._is_alone = workers <= dead and not self._to_come
        for holding in tuple(self._holdings.values()):
            others = [
                share
                for share in sight.shares
                if share.relay == holding.name and share.worker not in {self._worker, *dead}
            ]
            await self._settle(holding, others, dead=dead, due=sight.due)
            await self._agree(holding.route, sight.news, {share.worker for share in others})

    def _missing(self, others: Set[str]) -> int:
        is_starting = self._clock.monotonic() - self._started_at < STARTING_SECONDS
        return max(0, self._siblings - len(others)) if is_starting else 0

    async def _agree(self, route: Route, news: News | None, living: Set[str]) -> None:
        """Let the breaker follow what others have found, and probe where it is our turn."""
        if news is None or not living:
            self._accord.alone(route)
            return
        if self._accord.hear(route, news):
            self._dispatcher.wake.ring()
        step = self._accord.step(route, news, living)
        if step is not None and await self._database.write(step):
            self._accord.has_leave(route)
            self._dispatcher.wake.ring()

    async def _settle(
        self, holding: Holding, others: Sequence[Share], *, dead: set[str], due: Set[str]
    ) -> None:
        """Give up what others should have, and take what is due to us and free."""
        if not holding.is_in_force and not holding.elsewhere:
            await self._give_up(holding)
            return
        if not holding.route.has_share(self._clock):
            self._lapsed(holding)
        wanted = self._wanted(holding, due)
        due_to_us = shares.target(self._asked(holding, wanted), others, to_come=self._to_come)
        if due_to_us - holding.elsewhere < holding.pool.limit:
            holding.allow(due_to_us)
        asked = self._asked(holding, wanted)
        if is_news(asked, holding.share, others, due_to_us):
            await self._write(holding, asked, dead)

    def _asked(self, holding: Holding, wanted: int) -> Share:
        settings = holding.route.settings
        connections, rate = settings.connections, settings.effective_rate
        spacing = None if rate is None else rate.spacing * MICROSECONDS
        return Share(
            holding.name,
            self._worker,
            connections,
            min(wanted, connections),
            holding.needs,
            spacing,
        )

    def _wanted(self, holding: Holding, due: Set[str]) -> int:
        """Return how many connections it could use: what it could a moment ago counts too."""
        before, holding.demand = holding.demand, self._demand(holding, due)
        return max(before, holding.demand)

    def _demand(self, holding: Holding, due: Set[str]) -> int:
        route, dispatcher = holding.route, self._dispatcher
        if not holding.is_in_force:
            return holding.elsewhere
        if dispatcher.is_held or dispatcher.stopping or not route.breaker.is_closed:
            return route.under_way
        if dispatcher.in_flight >= dispatcher.pace.deliveries:
            # Those whose answer waits for its commit make room for as many others.
            return route.in_flight
        has_due = not due.isdisjoint(self._queues(holding))
        return route.settings.connections if has_due else route.under_way

    async def _write(self, holding: Holding, asked: Share, dead: Collection[str]) -> None:
        end = LeaseEnd.after(self.tenure.trusted, self._clock)
        is_new = holding.share is None
        take = partial(
            shares.settle,
            asked=asked,
            seconds=self.tenure.lasts,
            dead=dead,
            clock=self._clock,
            to_come=self._to_come,
        )

        def settle(connection: Connection) -> Share:
            if is_new:
                # Those who are here already look seldom, if they were alone.
                ring_after_commit(connection)
            return take(connection)

        share = holding.share = await self._database.write(settle)
        holding.route.tenure = end
        if share.granted > asked.granted:
            holding.allow(share.granted)
            self._dispatcher.wake.ring()

    async def _give_up(self, holding: Holding) -> None:
        """Forget a relay that is configured no more and whose sessions have ended."""
        del self._holdings[holding.name]
        give_up = partial(shares.leave, worker=self._worker, relays=[holding.name])
        await self._database.write(give_up)

    # Waiting

    async def _rest(self) -> None:
        """Wait until it is time to look; one that is alone looks when it rings, too."""
        if not self._is_alone:
            await self._pause(CLOSING_SECONDS if self._is_closing else LOOK_SECONDS)
            return
        await self._pause(REST_SECONDS)
        if not self.stopping:
            left = self._renewed_at + self.tenure.renewed - self._clock.monotonic()
            await self.wake.wait(min(max(0.0, left), self._dispatcher.pace.poll_max))

    async def _pause(self, seconds: float) -> None:
        """Wait, however often it rings; only the stop cuts it short. A ring is kept."""
        has_rung = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.stopping:
                    has_rung = await self.wake.wait(None) or has_rung
        if has_rung:
            self.wake.ring()

    @property
    def _is_closing(self) -> bool:
        return any(
            one.share is not None and one.pool.connected + one.elsewhere > one.pool.limit
            for one in self._holdings.values()
        )
