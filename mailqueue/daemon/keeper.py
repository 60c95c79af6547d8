"""Keeps alive the leases that are worked on, and knows when they no longer are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from sqlalchemy import Connection

from mailqueue.clock import Clock, microseconds
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.service import Service
from mailqueue.events import Emit
from mailqueue.failpoint import reach
from mailqueue.outbox.claim import renew
from mailqueue.outbox.workers import beat


class Keeper(Service):
    """Renews this worker's leases in one statement, every heartbeat.

    ``in_flight`` names the messages that are being sent; set by who sends them.
    """

    def __init__(
        self,
        worker: str,
        recorder: Recorder,
        *,
        heartbeat: float,
        lease: float,
        clock: Clock,
        emit: Emit,
    ) -> None:
        super().__init__(emit)
        self.worker = worker
        self.heartbeat = heartbeat
        self.lease = lease
        self.in_flight: Callable[[], Collection[int]] = tuple
        self._recorder = recorder
        self._clock = clock
        self._until = 0
        self._monotonic_until = 0.0

    def until(self) -> int:
        """Return when a lease taken now would end (epoch microseconds)."""
        return self._clock.now() + microseconds(self.lease)

    def holds(self, claimed_until: int, claimed_at: float) -> bool:
        """Whether a lease is certainly still ours.

        ``claimed_until`` is its end as written, ``claimed_at`` the monotonic time at
        which it was taken. Both clocks must agree: the wall clock is what other workers go by,
        and the monotonic one counts on where an administrator has set the other back.
        """
        wall = self._clock.now() < max(claimed_until, self._until)
        monotonic = self._clock.monotonic() < max(claimed_at + self.lease, self._monotonic_until)
        return wall and monotonic

    async def _run(self) -> None:
        while not self.stopping:
            await self.wake.wait(self.heartbeat)
            await self._beat()

    async def _beat(self) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        until = now + microseconds(self.lease)
        work = partial(self._write, messages=self.in_flight(), now=now, until=until)
        await self._recorder.write(work)
        reach("after", "renew-commit")
        self._until, self._monotonic_until = until, monotonic + self.lease

    def _write(
        self, connection: Connection, *, messages: Collection[int], now: int, until: int
    ) -> None:
        if messages:
            renew(connection, self.worker, messages, until=until)
        beat(connection, self.worker, now=now)
