"""One simulated world: daemons, relays, producers and a network, all drawn from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

from sqlalchemy import Engine

from mailqueue.daemon import herald, janitor, shares
from mailqueue.operate import Operator
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.simulation.clock import SimulatedClock, WallTime
from tests.simulation.database import Disk
from tests.simulation.invariants import (
    assert_never_early,
    assert_texts_fit,
)
from tests.simulation.ledger import Ledger
from tests.simulation.loop import VirtualLoop
from tests.simulation.mood import GOOD
from tests.simulation.network import Network, Weather
from tests.simulation.pace import CANARY, Pace
from tests.simulation.people import Meddler, Producer
from tests.simulation.process import DaemonProcess, Machine
from tests.simulation.relay import SimulatedRelay
from tests.simulation.watch import Watch

_HOSTS = {"main": "localhost", "smart": "smart.example"}


class World:
    """Everything that one seed leads to."""

    def __init__(
        self, seed: int, directory: Path, pace: Pace | None = None, *, pipelining: bool = False
    ) -> None:
        self.seed = seed
        self.pipelining = pipelining
        self.pace = pace or Pace.draw(self._chance("pace"))
        self.loop = VirtualLoop(seed)
        self.wall = WallTime(self.loop)
        self.disk = Disk(self._chance("disk"))
        self.ledger = Ledger()
        self.network = Network(self._chance("network"))
        self.loop.wires = self.network
        self.relays = {name: self._relay(name, host) for name, host in _HOSTS.items()}
        self.path = directory / f"{seed}.db"
        self.authority = directory / "authority.pem"
        self.engine = self._create()
        self.shell = sqlite3.connect(self.path, isolation_level=None)
        self.watch = Watch(
            self.loop,
            self.wall,
            self.network,
            shell=self.shell,
            ledger=self.ledger,
            directory=directory,
        )
        self.clock = SimulatedClock(self.loop, self.wall, f"people {seed}")
        self.producer = Producer(self.engine, self.disk, self.clock, self._chance("producer"))
        self.meddler = Meddler(
            Operator(self.engine, actor="somebody", clock=self.clock), self._chance("meddler")
        )
        self.daemons: list[DaemonProcess] = []
        self.graves: list[DaemonProcess] = []
        self.set_back = 0.0
        """By how much the wall time was set back, all in all (seconds)."""
        self._machine = Machine(self.loop, self.engine, self.path, self.disk, self.watch.committed)
        self._count = 0

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        # Those who look every few seconds would leave time for nothing else.
        for module, name, seconds in (
            (janitor, "SETTLE_SECONDS", self.pace.lease / 2),
            (janitor, "CLEAR_SECONDS", 2 * self.pace.lease),
            (herald, "STATUS_SECONDS", self.pace.lease / 4),
            (shares, "LOOK_SECONDS", self.pace.lease / 16),
            (shares, "CLOSING_SECONDS", self.pace.lease / 64),
        ):
            self._open.enter_context(mock.patch.object(module, name, seconds))
        self._open.enter_context(_no_collection())
        return self

    def __exit__(self, *_: object) -> None:
        self._bury_all()
        self._open.close()
        self.network.close()
        self.loop.close()
        self.shell.close()
        self.engine.dispose()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()

    # What can be done to it

    def spawn(self) -> DaemonProcess:
        """Start a daemon."""
        self._count += 1
        name = f"daemon-{self._count}"
        clock = SimulatedClock(self.loop, self.wall, f"{name} {self.seed}")
        loaded = self.pace.loaded(self.path, self.authority)
        daemon = DaemonProcess(name, self._machine, loaded, clock=clock, told=self.watch.told)
        daemon.most_at_once = self.pace.connections
        self.daemons.append(daemon)
        self.watch.note(f"{name} started")
        return daemon

    def kill(self, daemon: DaemonProcess) -> None:
        """SIGKILL."""
        self.watch.died(daemon)
        daemon.kill()
        self.network.hang_up(daemon)
        self.graves.append(daemon)
        self.daemons.remove(daemon)

    async def stop(self, daemon: DaemonProcess) -> None:
        """SIGTERM, and wait for its end; one that has hardly begun does not catch it."""
        if daemon.supervisor is None:
            self.kill(daemon)
            return
        self.watch.note(f"{daemon.name} stopping", met="stop")
        daemon.stop()
        await daemon.ended()
        self.watch.note(f"{daemon.name} ended")
        self._forget_ended()

    def jump(self, seconds: float) -> None:
        """Set the wall time."""
        self.watch.note(f"the clock is set by {seconds:.0f} s", met="clock set")
        self.set_back += max(0.0, -seconds)
        self.wall.jump(seconds)

    def enqueue(self) -> None:
        """Let somebody enqueue something; now and then the bell is not heard."""
        receipt = self.producer.enqueue()
        self.watch.note(f"enqueued {receipt}", met=None if receipt is None else "mail")
        if receipt is not None and self.producer.chance.random() < 0.8:
            for daemon in self.daemons:
                daemon.ring()

    def heal(self) -> None:
        """End all troubles at once."""
        self.watch.note("all is well")
        self.disk.mend()
        self.network.weather = Weather()
        for relay in self.relays.values():
            relay.mood = GOOD
        self._forget_ended()
        for daemon in self.daemons:
            daemon.wake_up()
        staying = [daemon for daemon in self.daemons if daemon.stop_asked_at is None]
        for _ in range(self.pace.daemons - len(staying)):
            self.spawn()

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self.complete(asyncio.sleep(seconds))

    def complete(self, work: Any) -> None:
        """Run the loop until ``work`` is done; raises what was found wrong meanwhile."""
        self.loop.run_until_complete(work)
        self.watch.check()

    def conclude(self) -> None:
        """Assert what can be told only at the end."""
        self.watch.check()
        stored = {number for (number,) in self.shell.execute("SELECT id FROM mailqueue_messages")}
        lost = set(self.producer.receipts) - stored
        assert not lost, f"acknowledged, and gone: {sorted(lost)}"
        delivered = {message for message, _ in self.ledger.delivered}
        assert not delivered & self.producer.withdrawn, "sent, although it was rolled back"
        for message, digests in self.ledger.digests.items():
            assert digests == {self.producer.digests[message]}, f"{message} was changed on its way"
        assert_texts_fit(self.shell, [CANARY])
        if not self.set_back:
            assert_never_early(self.shell)
        assert self.shell.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        self._tell_met()

    def _tell_met(self) -> None:
        for what in (*self.disk.met, *self.network.met):
            self.watch.met[what] += 1
        self.watch.met["duplicate"] += self.ledger.duplicates
        for one in self.watch.recipients():
            self.watch.met[one.state] += 1
            self.watch.met["doubt"] += one.doubts
            self.watch.met["held in doubt"] += one.state == "held"

    # Parts

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{what} {self.seed}")

    def _relay(self, name: str, host: str) -> SimulatedRelay:
        relay = SimulatedRelay(name, self.ledger, self._chance(name), pipelining=self.pipelining)
        self.network.hosts[host] = relay
        return relay

    def _create(self) -> Engine:
        engine = write_engine(f"sqlite:///{self.path}")
        schema.create(engine)
        return engine

    def _forget_ended(self) -> None:
        self.daemons = [daemon for daemon in self.daemons if daemon.is_running]

    def _bury_all(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        with warnings.catch_warnings():
            # Their last clauses find no loop to run in, and say so.
            warnings.simplefilter("ignore", RuntimeWarning)
            for task in self.loop.bury():
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: its last words would come when memory wills, not the seed."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
