"""Settles what nobody came back for, expires what is too late, and clears what is old."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from mailqueue.clock import Clock, microseconds
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxFencedError
from mailqueue.events import (
    DiskLow,
    DiskRecovered,
    Emit,
    LeaseReaped,
    LogPinned,
    Pruned,
    RecipientExpired,
    RelayUnknown,
)
from mailqueue.failpoint import reach
from mailqueue.outbox import reap
from mailqueue.outbox.checkpoint import Checkpoint, log_size
from mailqueue.outbox.locks import clear, is_dead, is_locked
from mailqueue.outbox.prune import Pruned as Batch
from mailqueue.outbox.prune import Retention, prune, reclaim
from mailqueue.outbox.workers import bury, forget, known

PRUNE_BATCHES = 20
"""Batches in one round: some ten thousand messages a minute."""
SETTLE_SECONDS = 2.0
"""How often leases, deadlines and strange relay names are looked at."""
CLEAR_SECONDS = 60.0
"""How often dead workers and outlived mail are looked for."""
LOG_PINNED = 64 * 1024 * 1024
"""How large SQLite's log may grow for somebody's long reading before it is told (bytes)."""
FORGET_SECONDS = 86_400.0
"""After so long a worker that left no lock to prove its death is forgotten."""


@dataclass(frozen=True, slots=True)
class DiskFloor:
    """How much of the outbox's disk must stay free for results to be written (bytes)."""

    directory: Path
    floor: int

    def free(self) -> int | None:
        """Return the bytes free for this user, or None where it cannot be known."""
        try:
            found = os.statvfs(self.directory)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize


def floor_of(free_disk: int) -> int:
    """Return what must stay free for the daemon, where producers must leave ``free_disk`` bytes.

    Half of it: they stop first, so that what was accepted can still be sent and its results
    written.
    """
    return free_disk // 2


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How long finished mail is kept, in seconds, and what must stay free."""

    contents: float
    messages: float
    disk: DiskFloor | None


class Janitor(Service):
    """Goes round in short transactions, so that no result waits for it."""

    def __init__(
        self,
        recorder: Recorder,
        dispatcher: Dispatcher,
        database: Database,
        *,
        upkeep: Upkeep,
        path: Path | None,
        clock: Clock,
        emit: Emit,
    ) -> None:
        super().__init__(emit)
        self.upkeep = upkeep
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._database = database
        self._pruned_to = 0
        self._path = path
        self._clock = clock
        self._cleared_at = clock.monotonic()
        self._disk_is_low = False
        self._log_is_pinned = False
        self._strangers: frozenset[str] = frozenset()

    async def _run(self) -> None:
        while not self.stopping:
            # A fence that comes up meanwhile is told by whoever watches for it.
            with contextlib.suppress(OutboxFencedError):
                await self._round()
            await self.wake.wait(SETTLE_SECONDS)

    async def _round(self) -> None:
        # Both at once, which is one transaction.
        await asyncio.gather(self.settle(), self._tell_strangers())
        self._watch_disk()
        for route in self._dispatcher.routing.routes:
            await route.pool.trim()
        if self._clock.monotonic() - self._cleared_at >= CLEAR_SECONDS:
            self._cleared_at = self._clock.monotonic()
            await self._clear()

    async def settle(self) -> None:
        """Reap the leases that ran out, and expire who waited too long."""
        while await self._reap(()) == reap.BATCH and not self.stopping:
            pass
        while not self._is_fenced and await self._expire() == reap.BATCH and not self.stopping:
            pass

    @property
    def _is_fenced(self) -> bool:
        """Whether nothing but results of leases may be written."""
        return self._dispatcher.fence is not None

    async def settle_dead(self) -> int:
        """Reap the leases of every worker that is proven dead; returns how many there were."""
        if self._path is None:
            return 0
        count = 0
        for worker in await self._recorder.write(known):
            if is_dead(self._path, worker.id):
                count += await self._settle_worker(worker.id)
                clear(self._path, worker.id)
        return count

    async def _settle_worker(self, dead: str) -> int:
        count = 0
        while settled := await self._reap((dead,)):
            count += settled
        await self._recorder.write(partial(bury, worker=dead))
        return count

    async def _reap(self, dead: Sequence[str]) -> int:
        work = partial(
            reap.reap,
            policies=self._dispatcher.routing.policy_of,
            now=self._clock.now(),
            jitter=self._clock.random,
            dead_workers=dead,
            spared=self._dispatcher.messages(),
        )
        results = await self._recorder.write(work)
        for result in results:
            self.emit(_reaped(result))
        if results:
            reach("after", "reap-commit")
            self._dispatcher.wake.ring()
        return len(results)

    async def _expire(self) -> int:
        policy_of = self._dispatcher.routing.policy_of
        give_up = {queue: policy_of(queue).give_up for queue in self._dispatcher.routing.queues}
        # "" is no relay's name: its policy is the one for names that are not configured.
        work = partial(
            reap.expire, give_up=give_up, now=self._clock.now(), default=policy_of("").give_up
        )
        expired = await self._recorder.write(work)
        for one in expired:
            self.emit(RecipientExpired(one.message, one.address, one.relay))
        return len(expired)

    async def _tell_strangers(self) -> None:
        """Say which names no relay here has, each once for as long as mail waits there."""
        live = await self._recorder.write(reap.live_relays)
        strangers = frozenset(live) - frozenset(self._dispatcher.routing.queues)
        for queue in sorted(strangers - self._strangers):
            self.emit(RelayUnknown(queue))
        self._strangers = strangers

    def _watch_disk(self) -> None:
        disk = self.upkeep.disk
        if disk is None:
            return
        free = disk.free()
        is_low = free is not None and free < disk.floor
        was_low, self._disk_is_low = self._disk_is_low, is_low
        self._dispatcher.is_held = is_low
        if free is None or is_low is was_low:
            return
        if is_low:
            self.emit(DiskLow(free, disk.floor))
        else:
            self.emit(DiskRecovered(free))
            self._dispatcher.wake.ring()

    async def _clear(self) -> None:
        await self.settle_dead()
        await self._forget_silent()
        if not self._is_fenced:
            await self._prune()
        reach("before", "checkpoint")
        self._watch_log(await self._database.checkpoint())
        reach("after", "checkpoint")

    def _watch_log(self, done: Checkpoint) -> None:
        """Say once that somebody keeps the log from being emptied, until it has been."""
        size = 0 if self._path is None or not done.busy else log_size(self._path)
        if size > LOG_PINNED and not self._log_is_pinned:
            self.emit(LogPinned(size))
        self._log_is_pinned = size > LOG_PINNED or (self._log_is_pinned and done.busy)

    async def _forget_silent(self) -> None:
        since = self._clock.now() - microseconds(FORGET_SECONDS)
        for worker in await self._recorder.write(known):
            is_silent = worker.heartbeat_at < since
            if is_silent and not (self._path and is_locked(self._path, worker.id)):
                await self._recorder.write(partial(forget, worker=worker.id, silent_since=since))

    async def _prune(self) -> None:
        """Prune one stretch of the outbox, and the next one in the next round.

        So nothing that is being sent waits for it, however large the outbox is.
        """
        contents = messages = 0
        for _ in range(PRUNE_BATCHES):
            if self.stopping:
                break
            pruned = await self._recorder.write(self._prune_batch)
            reach("after", "prune-commit")
            contents += pruned.contents
            messages += pruned.messages
            self._pruned_to = pruned.last or 0
            if pruned.last is None:
                break
        if contents or messages:
            self.emit(Pruned(contents, messages))
        await self._recorder.write(reclaim)

    def _prune_batch(self, connection: Connection) -> Batch:
        now = self._clock.now()
        retention = Retention(
            now - microseconds(self.upkeep.contents), now - microseconds(self.upkeep.messages)
        )
        return prune(connection, retention, after=self._pruned_to)


def _reaped(result: reap.Reaped) -> LeaseReaped:
    return LeaseReaped(result.message, result.lease.address, result.trial.worker, result.decision)
