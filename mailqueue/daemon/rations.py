"""Fetches what each relay's rate allows, in batches: no message costs a statement of its own."""

from __future__ import annotations

from functools import partial

from mailqueue.clock import Clock
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.ration import Ration
from mailqueue.daemon.routing import Route
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxError
from mailqueue.events import Emit
from mailqueue.mail.rate import Rate
from mailqueue.outbox.rates import AHEAD_SECONDS, take

PAUSE_SECONDS = AHEAD_SECONDS / 2
"""Between two batches where the rate does not allow all that is wanted: so each is worth it."""
TROUBLE_SECONDS = 1.0
"""Until it is tried again where the outbox does not answer."""


class Rations(Service):
    """Waits until somebody may begin no transaction for want of an instant, and takes some."""

    def __init__(
        self, dispatcher: Dispatcher, database: Database, *, clock: Clock, emit: Emit
    ) -> None:
        super().__init__(emit)
        self._dispatcher = dispatcher
        self._database = database
        self._clock = clock
        self._again_at: dict[str, float] = {}

    def follow(self) -> None:
        """Give each relay that has a rate a ration of it, as the configuration is now.

        Mail that was claimed under another rate, or for a relay that is gone, is sent away: also
        what nobody carries yet, and would come to wait where nothing is given out any more.
        """
        routing = self._dispatcher.routing
        for route in routing.retired:
            if route.ration is not None:
                route.ration.end()
        for route in routing.routes:
            rate, before = route.settings.effective_rate, route.ration
            if rate == (None if before is None else before.rate):
                continue
            route.ration = None if rate is None else self._ration(rate)
            if before is not None:
                before.end()

    def _ration(self, rate: Rate) -> Ration:
        freed = self._dispatcher.wake.ring
        return Ration(rate, self._clock, asked=self.wake.ring, freed=freed)

    async def _run(self) -> None:
        while not self.stopping:
            await self.wake.wait(await self._fill())

    async def _fill(self) -> float | None:
        """Take what is missing anywhere; returns the seconds until that makes sense again."""
        pauses = []
        for route in self._dispatcher.routing.routes:
            ration = route.ration
            if ration is None or not ration.wanted:
                continue
            now = self._clock.monotonic()
            if now >= self._again_at.get(route.name, now):
                self._again_at[route.name] = now + await self._take(route, ration)
            pauses.append(max(0.0, self._again_at[route.name] - self._clock.monotonic()))
        return min(pauses, default=None)

    async def _take(self, route: Route, ration: Ration) -> float:
        """Take what one relay's transactions wait for; returns when to ask again (seconds)."""
        wanted = ration.wanted
        work = partial(
            take,
            relay=route.name,
            spacing=ration.rate.spacing,
            wanted=wanted,
            least=ration.least,
            clock=self._clock,
        )
        try:
            batch = await self._database.write(work)
        except OutboxError:
            return TROUBLE_SECONDS
        # The time after the commit: too late rather than too early.
        ration.put(batch, now=self._clock.monotonic())
        if batch.count >= wanted:
            return 0.0
        # Not in step with others, who would come first each time; and sooner for who got nothing.
        pause = PAUSE_SECONDS * (0.5 + self._clock.random())
        return pause if batch.count else max(batch.delay, pause / 2)
