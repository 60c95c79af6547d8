"""Troubles, one after the other and several at once, drawn from the world's seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from tests.simulation.mood import FORGETFUL, GOOD, MOODS
from tests.simulation.network import Weather
from tests.simulation.process import DaemonProcess
from tests.simulation.world import World


class Chaos:
    """Makes something happen every now and then, until it is cancelled."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(f"chaos {world.seed}")
        self._spells: dict[asyncio.Task[None], None] = {}
        """In the order of their beginning: a set would cancel them in one of their addresses."""

    async def reign(self, seconds: float, events: int) -> None:
        """Let about so many things happen in so many seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and not self.world.watch.has_failed:
            await asyncio.sleep(self.chance.expovariate(events / seconds))
            self._strike()
        for spell in list(self._spells):
            spell.cancel()

    def _strike(self) -> None:
        troubles: dict[Callable[[], None], int] = {
            self._mail: 30,
            self._mood: 12,
            self._weather: 6,
            self._hang_up: 2,
            self._disk: 8,
            self._kill: 4,
            self._stop: 3,
            self._freeze: 8,
            self._clock: 2,
            self._meddle: 8,
            self._reload: 3,
            self._spawn: 8,
        }
        (trouble,) = self.chance.choices(list(troubles), list(troubles.values()))
        trouble()

    def _mail(self) -> None:
        for _ in range(self.chance.choice((1, 1, 2, 5))):
            self.world.enqueue()

    def _mood(self) -> None:
        relay = self.chance.choice(list(self.world.relays.values()))
        relay.mood = self.chance.choice((GOOD, *MOODS, FORGETFUL, FORGETFUL))
        self.world.watch.note(
            f"relay {relay.name} is {relay.mood.name}", met=f"relay {relay.mood.name}"
        )

    def _weather(self) -> None:
        draw = self.chance.random
        self.world.network.weather = Weather(
            latency=self.chance.choice((0.01, 0.1, 2.0)),
            unresolved=draw() * self.chance.choice((0, 0, 1)),
            swallowed=draw() * self.chance.choice((0, 0.3, 1)),
            cut=draw() * self.chance.choice((0, 0.1, 0.3)),
            stuck=draw() * self.chance.choice((0, 0.2, 0.5)),
        )
        self.world.watch.note(f"{self.world.network.weather}")

    def _hang_up(self) -> None:
        self.world.watch.note("all connections break")
        self.world.network.hang_up()

    def _disk(self) -> None:
        disk = self.world.disk
        disk.busy = self.chance.choice((0, 0.3, 0.8))
        disk.unknown = self.chance.choice((0, 0.5))
        disk.slowness = self.chance.choice((0.01, 0.05, 5.0))
        disk.is_low = self.chance.random() < 0.5
        disk.is_full = self.chance.random() < 0.3
        self.world.watch.note(f"disk: {disk}")
        self._later(disk.mend, self.chance.uniform(5, self.world.pace.lease / 2))

    def _kill(self) -> None:
        if (daemon := self._some_daemon()) is not None:
            self.world.kill(daemon)
            self._spawn_later()

    def _stop(self) -> None:
        if (daemon := self._some_daemon()) is not None and daemon.stop_asked_at is None:
            self._begin(self.world.stop(daemon))
            self._spawn_later()

    def _freeze(self) -> None:
        """Let a daemon stand still in the middle of its work."""
        self._mail()
        self._later(self._freeze_busiest, self.chance.uniform(0, 3))

    def _freeze_busiest(self) -> None:
        awake = [one for one in self.world.daemons if one.is_running and not one.is_frozen]
        if daemon := max(awake, key=lambda one: one.under_way, default=None):
            self.world.watch.note(f"{daemon.name} freezes", met="freeze")
            daemon.freeze()
            self._later(daemon.wake_up, self.chance.expovariate(0.5 / self.world.pace.lease))

    def _clock(self) -> None:
        self.world.jump(self.chance.choice((-86_400, -60, 60, 3600, 86_400)))

    def _meddle(self) -> None:
        acts = self.world.meddler.decide(list(self.world.producer.receipts))
        for act in acts:
            self.world.watch.note(f"{act}", met=f"act {act.after}")

    def _reload(self) -> None:
        if (daemon := self._some_daemon()) is not None and not daemon.is_frozen:
            world = self.world
            connections = self.chance.choice((1, 2, 4))
            daemon.reload(world.pace.loaded(world.path, world.authority, connections=connections))

    def _spawn(self) -> None:
        world = self.world
        world.daemons = [daemon for daemon in world.daemons if daemon.is_running]
        if len(world.daemons) < world.pace.daemons:
            world.spawn()

    def _spawn_later(self) -> None:
        self._later(self._spawn, self.chance.expovariate(1 / 60))

    def _some_daemon(self) -> DaemonProcess | None:
        running = [daemon for daemon in self.world.daemons if daemon.is_running]
        return self.chance.choice(running) if running else None

    def _later(self, what: Callable[[], None], seconds: float) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            what()

        self._begin(wait())

    def _begin(self, work: object) -> None:
        spell: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._spells[spell] = None
        spell.add_done_callback(self._spells.pop)
