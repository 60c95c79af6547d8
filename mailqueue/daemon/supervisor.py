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
from math import inf
from typing import Any

from mailqueue._version import __version__
from mailqueue.clock import Clock
from mailqueue.config import Config, Loaded
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.herald import Herald
from mailqueue.daemon.janitor import Janitor
from mailqueue.daemon.keeper import Keeper
from mailqueue.daemon.listener import Listener
from mailqueue.daemon.opening import reach
from mailqueue.daemon.pauses import Pauses
from mailqueue.daemon.rations import Rations
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Routing
from mailqueue.daemon.shares import Shares
from mailqueue.daemon.systemd import Notifier
from mailqueue.errors import ConfigError
from mailqueue.events import (
    Emit,
    PartFailed,
    Reloaded,
    ReloadRefused,
    Started,
    Stopped,
    Stopping,
)
from mailqueue.outbox import relays, workers
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.location import describe
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
    pauses: Pauses
    rations: Rations
    shares: Shares
    herald: Herald
    notifier: Notifier
    lock: WorkerLock | None
    doorbell: Doorbell | None
    listener: Listener | None


TOGETHER_SECONDS = 0.2
"""Signals so close are one: timeout(1) and some supervisors signal a process and then its group."""


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
        self._signalled_at = -inf
        self._ended = asyncio.Event()
        self._is_registering = self._is_registered = False
        self._reload_wanted = False
        self._after_reload: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start, send until told to stop, and return when everything known is written.

        Raises `OutboxError` where the database cannot be used as it is.
        """
        with self._signals():
            try:
                await self._unless_ended(self._start())
                await self._ended.wait()
            finally:
                await self._stop()

    async def _unless_ended(self, starting: Coroutine[Any, Any, None]) -> None:
        """Await ``starting``, or give it up when told to stop: it may wait for the database."""
        start = asyncio.create_task(starting)
        end = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([start, end], return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            start.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await start

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
            self._signalled_at = self._clock.monotonic()
            self.stop(name)
            return
        if self._clock.monotonic() - self._signalled_at < TOGETHER_SECONDS:
            return
        # Said twice: now. What is leased stays leased, and the next start of a daemon finds
        # this worker dead and records the doubt.
        self._exit_now(128 + signal.Signals[name].value)

    async def _start(self) -> None:
        parts = self.parts
        await reach(parts.database, notifier=parts.notifier, clock=self._clock, emit=self._emit)
        if parts.lock is not None:
            parts.lock.acquire()
        parts.recorder.start()
        self._is_registering = True
        await parts.recorder.write(partial(workers.register, worker=self._worker()))
        self._is_registered = True
        rows = await parts.recorder.write(relays.load)
        parts.routing.resume(rows, now=self._clock.now())
        reaped = await parts.janitor.settle_dead()
        # Before anything is written: who else is there may have news of the relays.
        await parts.shares.look()
        await self._show_relays()
        await parts.pauses.look()
        if parts.doorbell is not None:
            # Without it producers are heard a poll later, and that is all.
            with contextlib.suppress(OSError):
                parts.doorbell.start(self._rung)
        if parts.listener is not None:
            parts.listener.heard = self._rung
            parts.listener.start()
        parts.rations.follow()
        others = (parts.rations, parts.shares, parts.janitor, parts.herald)
        for part in (parts.pauses, parts.keeper, parts.dispatcher, *others):
            part.start()
        parts.notifier.ready()
        names = tuple(route.name for route in parts.routing.routes)
        self._emit(Started(parts.worker, describe(parts.database.url), names, reaped))
        self.started.set()
        if self._reload_wanted:
            self.reload()

    def _rung(self) -> None:
        """Look at everything: whoever rings has committed, and does not say what."""
        self.parts.dispatcher.wake.ring()
        self.parts.pauses.wake.ring()
        self.parts.shares.wake.ring()

    def _worker(self) -> workers.Worker:
        now = self._clock.now()
        return workers.Worker(
            self.parts.worker, platform.node(), os.getpid(), __version__, now, now
        )

    async def _show_relays(self) -> None:
        routes = self.parts.routing.routes
        rows = [route.row() for route in routes]
        conditions = [route.breaker.condition for route in routes]
        worker = self.parts.worker
        stale = {route.name for route in routes if not route.breaker.is_news}
        await self.parts.recorder.write(partial(relays.show, rows=rows, worker=worker, stale=stale))
        for route, condition in zip(routes, conditions, strict=True):
            route.breaker.shown = condition

    async def _stop(self) -> None:
        parts = self.parts
        parts.notifier.stopping()
        if not self.started.is_set():
            await self._leave(is_written=await self._unregister())
            return
        self._emit(Stopping(self._reason or "an error", parts.dispatcher.past_dot))
        is_written = await self._drain() and await self._write_farewell()
        await self._leave(is_written=is_written)
        self._emit(Stopped())

    async def _unregister(self) -> bool:
        """Take back what an unfinished start wrote; returns whether nothing of it is left."""
        if not self._is_registering:
            return True
        if not self.parts.recorder.is_troubled:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXTEND_SECONDS):
                    remove = partial(workers.remove, worker=self.parts.worker)
                    await self.parts.recorder.write(remove)
                    return True
        return not self._is_registered

    async def _drain(self) -> bool:
        """Wait for the replies to written dots, at most for the time configured.

        Returns whether the database took every result.
        """
        dispatcher = self.parts.dispatcher
        ending = {asyncio.create_task(dispatcher.stop())}
        deadline = self._clock.monotonic() + self.loaded.config.daemon.drain
        while ending and (left := deadline - self._clock.monotonic()) > 0:
            self.parts.notifier.extend(2 * EXTEND_SECONDS)
            _, ending = await asyncio.wait(ending, timeout=min(left, EXTEND_SECONDS))
        if not ending:
            return True
        ending.add(asyncio.create_task(dispatcher.abort()))
        self.parts.notifier.extend(2 * EXTEND_SECONDS)
        _, ending = await asyncio.wait(ending, timeout=EXTEND_SECONDS)
        if not ending:
            return True
        # The database takes nothing, and results would wait for it for ever.
        await self.parts.recorder.abort()
        await asyncio.wait(ending)
        return False

    async def _write_farewell(self) -> bool:
        """Write what is left to write; returns whether the database took all of it."""
        parts = self.parts
        parts.notifier.extend(2 * EXTEND_SECONDS)
        try:
            async with asyncio.timeout(EXTEND_SECONDS):
                others = (parts.janitor, parts.herald, parts.keeper)
                for part in (parts.pauses, parts.rations, parts.shares, *others):
                    await part.stop()
                await self._show_relays()
                await parts.recorder.write(partial(workers.remove, worker=parts.worker))
                await parts.recorder.stop()
        except TimeoutError:
            return False
        return True

    async def _leave(self, *, is_written: bool) -> None:
        parts = self.parts
        parts.notifier.extend(2 * EXTEND_SECONDS)
        async with asyncio.TaskGroup() as closing:
            for route in parts.routing.routes:
                closing.create_task(route.pool.close())
        if parts.doorbell is not None:
            parts.doorbell.stop()
        if parts.listener is not None:
            await parts.listener.stop()
        others = (parts.janitor, parts.herald, parts.keeper)
        for part in (parts.recorder, parts.pauses, parts.rations, parts.shares, *others):
            await part.abort()
        # Now that all sessions are closed: others take what is given back.
        is_written = is_written and await parts.shares.leave()
        await parts.database.close()
        # Where something is left unwritten the lock's file stays: a lock that nobody holds
        # proves to the next daemon that this one is dead, and its leases are settled at once.
        if parts.lock is not None and is_written:
            parts.lock.release()

    def reload(self) -> None:
        """Put a new configuration in force if it can be used; the old one stays otherwise.

        While it starts this waits until it has, and while it stops it does nothing.
        """
        if not self.started.is_set() or self._reason is not None:
            self._reload_wanted = True
            return
        self.parts.notifier.reloading()
        try:
            loaded = self._reload()
            self._check_unmoved(loaded.config)
            self._put_in_force(loaded)
        except ConfigError as error:
            self._emit(ReloadRefused(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon goes on
            self._emit(ReloadRefused(f"{type(error).__name__}: {error}"))
        finally:
            self.parts.notifier.ready()

    def _check_unmoved(self, config: Config) -> None:
        if config.database != self.loaded.config.database:
            raise ConfigError("[database] cannot change while the daemon runs; restart it")
        if config.daemon.processes != self.loaded.config.daemon.processes:
            raise ConfigError("[daemon] processes cannot change while they run; restart the daemon")

    def _put_in_force(self, loaded: Loaded) -> None:
        parts = self.parts
        # First, because it may refuse, and then nothing of the new configuration may hold.
        retired = parts.routing.configure(loaded.config)
        self._apply(loaded.config)
        for pool in retired:
            self._later(pool.close())
        parts.rations.follow()
        self._later(parts.shares.look())
        parts.routing.begin(now=self._clock.now())
        for route in parts.routing.routes:
            route.breaker.allow_probe(now=self._clock.now())
        self._later(self._show_relays())
        self._rung()
        self.loaded = loaded
        self._emit(Reloaded(loaded.source))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        doing = asyncio.get_running_loop().create_task(work)
        self._after_reload.add(doing)
        doing.add_done_callback(self._reloaded)

    def _reloaded(self, done: asyncio.Task[None]) -> None:
        self._after_reload.discard(done)
        if not done.cancelled() and (error := done.exception()) is not None:
            self._emit(PartFailed("reload", error))
