"""Obeys operators who pause a relay or move the outbox, within a second of their commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection

from mailqueue.clock import Clock
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxError
from mailqueue.events import Emit, FencePutUp, FenceTakenAway, PauseBegun, PauseEnded
from mailqueue.outbox.fence import Fence, standing
from mailqueue.outbox.pauses import Pause, pauses

REST_SECONDS = 0.25
"""Between two looks, however often it rings: producers ring at each commit."""


def _read(connection: Connection, *, now: int) -> tuple[Mapping[str, Pause], Fence | None]:
    return pauses(connection, now=now), standing(connection)


class Pauses(Service):
    """Reads the pauses on each ring of the doorbell and at each poll, for the routing to keep, and
    whether there is a fence, which is one pause for all.

    While the outbox cannot be read, what was read last holds.
    """

    def __init__(
        self, dispatcher: Dispatcher, database: Database, *, clock: Clock, emit: Emit
    ) -> None:
        super().__init__(emit)
        self._dispatcher = dispatcher
        self._database = database
        self._clock = clock
        self._told: dict[str, Pause] = {}
        dispatcher.fence_met = self.wake.ring

    async def _run(self) -> None:
        while not self.stopping:
            await self.look()
            if not await self._rest():
                await self.wake.wait(self._until_next())

    async def look(self) -> None:
        """Put the pauses in force that stand in the outbox now."""
        try:
            found, fence = await self._database.read(partial(_read, now=self._clock.now()))
        except OutboxError:
            # The recorder reports it: a database that cannot be read is not written either.
            return
        routing = self._dispatcher.routing
        routing.pauses = found
        names = {route.name for route in routing.routes}
        self._tell({name: pause for name, pause in found.items() if name in names})
        self._enclose(fence)

    def _enclose(self, fence: Fence | None) -> None:
        before = self._dispatcher.fence
        if before == fence:
            return
        self._dispatcher.enclose(fence)
        self.emit(FenceTakenAway() if fence is None else FencePutUp(str(fence)))

    def _tell(self, found: dict[str, Pause]) -> None:
        """Say what has begun and ended since the last look."""
        before, self._told = self._told, found
        if before == found:
            return
        for name, pause in found.items():
            if before.get(name) != pause:
                self.emit(PauseBegun(name, pause.by, pause.reason, pause.until))
        for name in before.keys() - found.keys():
            self.emit(PauseEnded(name))
        self._dispatcher.wake.ring()

    async def _rest(self) -> bool:
        """Wait a moment, and return whether it rang meanwhile; the stop cuts it short."""
        has_rung = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while not self.stopping:
                    has_rung = await self.wake.wait(None) or has_rung
        return has_rung

    def _until_next(self) -> float:
        """Return the seconds until the next poll, or until the first pause ends."""
        ends = [pause.until for pause in self._told.values() if pause.until is not None]
        most = self._dispatcher.pace.poll_max
        left = (min(ends, default=self._clock.now()) - self._clock.now()) / 1e6
        return min(max(0.0, left), most) if ends else most
