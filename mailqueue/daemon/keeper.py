"""Keeps alive the leases that are worked on, and knows when they no longer are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from sqlalchemy import Connection

from mailqueue.clock import Clock, microseconds
from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.service import Service
from mailqueue.events import Emit
from mailqueue.failpoint import reach
from mailqueue.outbox.claim import renew
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.workers import beat


@dataclass(frozen=True, slots=True)
class LeaseEnd:
    """When a lease ends: ``wall`` in epoch microseconds, as written, ``monotonic`` in seconds.

    Both clocks must agree that it has not come: the wall clock is what other workers go by, and
    the monotonic one counts on where an administrator has set the other back.
    """

    wall: int
    monotonic: float

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> Self:
        """Return the end of a lease that begins now and lasts for so long."""
        return cls(clock.now() + microseconds(seconds), clock.monotonic() + seconds)

    def is_to_come(self, clock: Clock) -> bool:
        """Whether it has come on neither clock."""
        wall = clock.now() < self.wall
        monotonic = clock.monotonic() < self.monotonic
        return wall and monotonic


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
        self._renewed: dict[tuple[int, int], LeaseEnd] = {}

    def holds(self, leases: Sequence[Lease], claimed: LeaseEnd) -> bool:
        """Whether all of ``leases`` are certainly still ours; ``claimed`` is their first end.

        A heartbeat counts only for the leases that it found and renewed: where a worker slept
        past the end, others have taken over, and that it is awake again changes nothing.
        """
        renewed = self._renewed
        if not renewed:
            return claimed.is_to_come(self._clock)
        ends = {renewed.get((one.recipient, one.token), claimed) for one in leases}
        return all(end.is_to_come(self._clock) for end in ends)

    async def _run(self) -> None:
        while not self.stopping:
            await self.wake.wait(self.heartbeat)
            await self._beat()

    async def _beat(self) -> None:
        work = partial(self._write, messages=self.in_flight(), lease=self.lease)
        renewed, end = await self._recorder.write(work)
        reach("after", "renew-commit")
        self._renewed = dict.fromkeys(renewed, end)

    def _write(
        self, connection: Connection, *, messages: Collection[int], lease: float
    ) -> tuple[set[tuple[int, int]], LeaseEnd]:
        # The time at which it is written: it may have waited for the database.
        end = LeaseEnd.after(lease, self._clock)
        renewed = renew(connection, self.worker, messages, until=end.wall) if messages else set()
        beat(connection, self.worker, now=self._clock.now())
        return renewed, end
