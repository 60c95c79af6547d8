"""Where deliveries bring their results and ask their questions, in tests of what carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mailqueue.clock import FakeClock
from mailqueue.daemon.delivery import Delivery, Terms
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.rule import Rule
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.record import Result
from mailqueue.smtp.pool import Pool
from tests.daemon.parts import PATIENCE, message_for
from tests.support.leases import POLICY


@dataclass
class Desk:
    """Stands where a delivery brings its results and asks its questions."""

    pool: Pool
    clock: FakeClock
    settled: list[Result] = field(default_factory=list)
    may_begin: bool = True
    may_write_dot: Callable[[Sequence[Lease]], bool] = lambda _: True
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    settling: asyncio.Event = field(default_factory=asyncio.Event)
    ended: list[int] = field(default_factory=list)
    writing: list[asyncio.Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.opened.set()

    def delivery(self, message: LeasedMessage, *, most: int = 100) -> Delivery:
        """Return a delivery through this desk, of at most so many recipients at once."""

        async def may_begin() -> bool:
            return self.may_begin

        async def may_write_dot(leases: Sequence[Lease], _: OnDoubt) -> bool:
            return self.may_write_dot(leases)

        return Delivery(
            message,
            Terms("main", "w1", POLICY, most),
            pool=self.pool,
            clock=self.clock,
            may_begin=may_begin,
            may_write_dot=may_write_dot,
            settle=self.settle,
            ended=lambda delivery: self.ended.append(delivery.message.id),
        )

    def settle(self, delivery: Delivery, results: Sequence[Result]) -> None:
        """Take the results, and write them once the desk is open."""
        self.settled.extend(results)
        self.writing.append(asyncio.ensure_future(self._write(delivery)))

    async def _write(self, delivery: Delivery) -> None:
        self.settling.set()
        await self.opened.wait()
        delivery.is_written()

    async def deliver(self, *addresses: str, most: int = 100) -> None:
        """Deliver a message to these addresses."""
        async with asyncio.timeout(PATIENCE):
            await self.delivery(message_for(*addresses), most=most).run()

    def events(self) -> dict[str, Event]:
        """Return what became of each recipient; each has been settled exactly once."""
        events = {result.lease.address: result.decision.event for result in self.settled}
        assert len(events) == len(self.settled)
        return events

    def rules(self) -> dict[str, Rule]:
        """Return the rule that decided each recipient."""
        return {one.lease.address: one.decision.verdict.rule for one in self.settled}
