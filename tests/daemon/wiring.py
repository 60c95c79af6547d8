"""The parts of a daemon wired together, each to be started by the test that needs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailqueue.clock import FakeClock
from mailqueue.config import RelaySettings
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher, Pace
from mailqueue.daemon.herald import Herald
from mailqueue.daemon.janitor import Janitor, Upkeep
from mailqueue.daemon.keeper import Keeper
from mailqueue.daemon.reception import Reception
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Route, Routing
from mailqueue.daemon.systemd import Notifier
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from mailqueue.testing import ScriptedRelay
from tests.daemon.parts import PATIENCE, Told, config_for, leading_to
from tests.support.leases import WORKER

PACE = Pace(deliveries=20, poll=60.0, poll_max=60.0)
"""Long enough that whatever happens was rung for."""
DAY = 86_400.0


@dataclass
class Wired:
    """Everything but the supervisor."""

    path: Path
    database: Database
    recorder: Recorder
    clock: FakeClock
    told: Told
    routing: Routing
    keeper: Keeper
    reception: Reception
    dispatcher: Dispatcher

    @property
    def route(self) -> Route:
        """The first relay."""
        return self.routing.routes[0]

    def janitor(self, **upkeep: Any) -> Janitor:
        """Return a janitor; finished mail is kept for a day and two."""
        given: dict[str, Any] = {"contents": DAY, "messages": 2 * DAY, "disk": None} | upkeep
        return Janitor(
            self.recorder,
            self.dispatcher,
            self.database,
            upkeep=Upkeep(**given),
            path=self.path,
            clock=self.clock,
            emit=self.told.append,
        )

    def herald(self, **environ: str) -> Herald:
        """Return a herald of a service manager as the environment describes it."""
        return Herald(
            Notifier(self.clock, environ),
            self.dispatcher,
            self.recorder,
            self.database,
            clock=self.clock,
            emit=self.told.append,
        )

    async def close(self) -> None:
        """End what a test left."""
        async with asyncio.timeout(PATIENCE):
            await self.dispatcher.stop()
            for route in self.routing.routes:
                await route.pool.close()


def wire(
    relay: ScriptedRelay,
    database: Database,
    recorder: Recorder,
    clock: FakeClock,
    told: Told,
    path: Path,
) -> Wired:
    """Wire the parts of a daemon with one relay named main, which is the default."""

    def make_pool(settings: RelaySettings) -> Pool:
        return Pool(Relay(settings), clock=clock)

    routing = Routing(make_pool)
    keys = leading_to(relay, connections=2, timeouts={"quit": 0.5}, breaker={"session_troubles": 2})
    routing.configure(config_for({"main": keys}))
    keeper = Keeper(WORKER, recorder, heartbeat=20.0, lease=120.0, clock=clock, emit=told.append)
    reception = Reception(recorder, clock, told.append)
    dispatcher = Dispatcher(
        routing, recorder, keeper, reception, pace=PACE, clock=clock, emit=told.append
    )
    return Wired(path, database, recorder, clock, told, routing, keeper, reception, dispatcher)
