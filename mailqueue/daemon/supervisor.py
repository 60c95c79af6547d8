"""The daemon as a whole: what starts in which order, what a signal means, and the way down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailqueue._version import __version__
from mailqueue.clock import Clock
from mailqueue.config import Config, Loaded
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.herald import Herald
from mailqueue.daemon.janitor import Janitor
from mailqueue.daemon.keeper import Keeper
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Routing
from mailqueue.daemon.systemd import Notifier
from mailqueue.errors import ConfigError
from mailqueue.events import Emit, Reloaded, ReloadRefused, Started, Stopped, Stopping
from mailqueue.outbox import relays, schema, workers
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.locks import WorkerLock

EXTEND_SECONDS = 10.0
"""How often the service manager is asked for more time while replies are awaited."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that runs, wired together by `mailqueue.assembly`."""

    worker: str
    database: Database
    recorder: Recorder
    routing: Routing
    keeper: Keeper
    dispatcher: Dispatcher
    janitor: Janitor
    herald: Herald
    notifier: Notifier
    lock: WorkerLock | None
    doorbell: Doorbell | None


class Supervisor:
    """Runs the parts from start to stop.

    The first SIGTERM or SIGINT ends it in order, the second at once; SIGHUP reads the
    configuration anew.
    """

    def __init__(
        self,
        loaded: Loaded,
        parts: Parts,
        *,
        reload: Callable[[], Loaded],
        apply: Callable[[Config], None],
        clock: Clock,
        emit: Emit,
        exit_now: Callable[[int], None] = os._exit,
    ) -> None:
        self.loaded = loaded
        self.parts = parts
        self.started = asyncio.Event()
        self._reload = reload
        self._apply = apply
        self._clock = clock
        self._emit = emit
        self._exit_now = exit_now
        self._reason: str | None = None
        self._ended = asyncio.Event()
        self._after_reload: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start, send until told to stop, and return when everything known is written.

        Raises `OutboxError` where the database cannot be used as it is.
        """
        with self._signals():
            try:
                await self._start()
                await self._ended.wait()
            finally:
                await self._stop()

    def stop(self, reason: str) -> None:
        """Ask for an end in order."""
        if self._reason is None:
            self._reason = reason
            self._ended.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: partial(self._signalled, "SIGTERM"),
            signal.SIGINT: partial(self._signalled, "SIGINT"),
            signal.SIGHUP: self.reload,
        }
        for number, handler in handled.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _signalled(self, name: str) -> None:
        if self._reason is None:
            self.stop(name)
            return
        # Said twice: now. What is leased stays leased, and the next start of a daemon finds
        # this worker dead and records the doubt.
        self._exit_now(128 + signal.Signals[name].value)

    async def _start(self) -> None:
        parts = self.parts
        await parts.database.write(schema.check)
        if parts.lock is not None:
            parts.lock.acquire()
        parts.recorder.start()
        await parts.recorder.write(partial(workers.register, worker=self._worker()))
        rows = await parts.recorder.write(relays.load)
        parts.routing.resume(rows, now=self._clock.now())
        reaped = await parts.janitor.settle_dead()
        await self._show_relays()
        if parts.doorbell is not None:
            # Without it producers are heard a poll later, and that is all.
            with contextlib.suppress(OSError):
                parts.doorbell.start(parts.dispatcher.wake.ring)
        for part in (parts.keeper, parts.dispatcher, parts.janitor, parts.herald):
            part.start()
        parts.notifier.ready()
        names = tuple(route.name for route in parts.routing.routes)
        self._emit(Started(parts.worker, parts.database.url, names, reaped))
        self.started.set()

    def _worker(self) -> workers.Worker:
        now = self._clock.now()
        return workers.Worker(
            self.parts.worker, platform.node(), os.getpid(), __version__, now, now
        )

    async def _show_relays(self) -> None:
        rows = [route.row() for route in self.parts.routing.routes]
        await self.parts.recorder.write(partial(relays.show, rows=rows))

    async def _stop(self) -> None:
        parts = self.parts
        parts.notifier.stopping()
        if not self.started.is_set():
            await self._leave()
            return
        self._emit(Stopping(self._reason or "an error", parts.dispatcher.past_dot))
        await self._drain()
        for part in (parts.janitor, parts.herald, parts.keeper):
            await part.stop()
        await self._leave()
        self._emit(Stopped())

    async def _drain(self) -> None:
        """Wait for the replies to written dots, at most for the time configured."""
        dispatcher = self.parts.dispatcher
        draining = asyncio.create_task(dispatcher.stop())
        deadline = self._clock.monotonic() + self.loaded.config.daemon.drain
        while (left := deadline - self._clock.monotonic()) > 0:
            self.parts.notifier.extend(2 * EXTEND_SECONDS)
            await asyncio.wait([draining], timeout=min(left, EXTEND_SECONDS))
            if draining.done():
                await draining
                return
        await dispatcher.abort()
        await draining

    async def _leave(self) -> None:
        parts = self.parts
        for route in parts.routing.routes:
            await route.pool.close()
        if parts.doorbell is not None:
            parts.doorbell.stop()
        if self.started.is_set():
            with contextlib.suppress(TimeoutError):
                # A database that takes nothing any more must not keep the process for ever:
                # its leases run out, and what was not written becomes doubt on record.
                async with asyncio.timeout(EXTEND_SECONDS):
                    await parts.recorder.write(partial(workers.remove, worker=parts.worker))
                    await parts.recorder.stop()
        await parts.recorder.abort()
        await parts.database.close()
        if parts.lock is not None:
            parts.lock.release()

    def reload(self) -> None:
        """Put a new configuration in force if it can be used; the old one stays otherwise."""
        self.parts.notifier.reloading()
        try:
            loaded = self._reload()
            self._check_unmoved(loaded.config)
            self._put_in_force(loaded)
        except ConfigError as error:
            self._emit(ReloadRefused(str(error)))
        self.parts.notifier.ready()

    def _check_unmoved(self, config: Config) -> None:
        if config.database != self.loaded.config.database:
            raise ConfigError("[database] cannot change while the daemon runs; restart it")

    def _put_in_force(self, loaded: Loaded) -> None:
        parts = self.parts
        # First, because it may refuse, and then nothing of the new configuration may hold.
        retired = parts.routing.configure(loaded.config)
        self._apply(loaded.config)
        for pool in retired:
            self._later(pool.close())
        for route in parts.routing.routes:
            route.breaker.allow_probe(now=self._clock.now())
        self._later(self._show_relays())
        parts.dispatcher.wake.ring()
        self.loaded = loaded
        self._emit(Reloaded(loaded.source))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        doing = asyncio.get_running_loop().create_task(work)
        self._after_reload.add(doing)
        doing.add_done_callback(self._after_reload.discard)
