"""Tells the service manager how the daemon is, and that it is alive only while it gets on."""

from __future__ import annotations

from functools import partial

from mailqueue.clock import Clock
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Route
from mailqueue.daemon.service import Service
from mailqueue.daemon.systemd import Notifier
from mailqueue.errors import OutboxError
from mailqueue.events import Emit
from mailqueue.outbox.due import Backlog, backlog

STATUS_SECONDS = 10.0


class Herald(Service):
    """Feeds the watchdog from real progress: a timer that always pings proves nothing."""

    def __init__(
        self,
        notifier: Notifier,
        dispatcher: Dispatcher,
        recorder: Recorder,
        database: Database,
        *,
        clock: Clock,
        emit: Emit,
    ) -> None:
        super().__init__(emit)
        self._notifier = notifier
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._database = database
        self._clock = clock
        watchdog = notifier.watchdog_seconds
        self._period = STATUS_SECONDS if watchdog is None else min(watchdog / 2, STATUS_SECONDS)

    async def _run(self) -> None:
        while not self.stopping:
            self._call_dispatcher()
            if self.gets_on:
                self._notifier.alive()
            if self._notifier.is_heard:
                self._notifier.status(await self._status())
            await self.wake.wait(self._period)

    def _call_dispatcher(self) -> None:
        """Let the dispatcher show that it moves, where it means to wait for longer than that."""
        if self._notifier.watchdog_seconds is None:
            return
        if self._clock.monotonic() - self._dispatcher.last_round >= self._period:
            self._dispatcher.wake.ring()

    @property
    def gets_on(self) -> bool:
        """Whether dispatcher and database have moved within the watchdog's period."""
        period = self._notifier.watchdog_seconds
        if period is None:
            return True
        oldest = self._clock.monotonic() - period
        # A database that answers with errors is not stuck: the disk is full, and a
        # restart would free nothing.
        answers = self._recorder.is_idle or self._recorder.last_answer > oldest
        # The dispatcher rests between two rounds, and makes none any more while it stops.
        rested = self._dispatcher.last_round + self._dispatcher.pace.poll_max
        moves = rested > oldest or self._recorder.is_troubled or self._dispatcher.stopping
        return answers and moves

    async def _status(self) -> str:
        try:
            found = await self._database.read(partial(backlog, now=self._clock.now()))
        except OutboxError as error:
            return f"the outbox cannot be read: {error}"
        return "; ".join((_counts(self._dispatcher.in_flight, found), *self._troubles(found)))

    def _troubles(self, found: Backlog) -> list[str]:
        troubles = []
        if (fence := self._dispatcher.fence) is not None:
            troubles.append(f"nothing is sent: the outbox {fence}")
        if found.oldest_due is not None:
            minutes = (self._clock.now() - found.oldest_due) / 60e6
            if minutes >= 1:
                troubles.append(f"oldest due for {minutes:.0f} min")
        routing = self._dispatcher.routing
        for route in routing.routes:
            if routing.is_paused(route.name, now=self._clock.now()):
                troubles.append(f"relay {route.name} paused by {routing.pauses[route.name].by}")
            if not route.breaker.is_closed and (trouble := _said(route)) is not None:
                troubles.append(trouble)
        return [trouble.replace("\n", " / ") for trouble in troubles]


def _said(route: Route) -> str | None:
    """Return why a relay is paused: what we met there, or else what another daemon did."""
    evidence, row = route.breaker.condition.evidence, route.row()
    if evidence is not None:
        return f"relay {route.name} paused at {evidence.stage}: {evidence.answer}"
    return None if row.stage is None else f"relay {route.name} paused at {row.stage}: {row.text}"


def _counts(sending: int, found: Backlog) -> str:
    waiting = f"more than {found.waiting}" if found.is_more else str(found.waiting)
    return f"{sending} sending, {waiting} in the queue"
