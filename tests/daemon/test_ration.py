"""Transactions that wait for a relay's rate."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.clock import FakeClock
from mailqueue.daemon.ration import Ration
from mailqueue.mail.rate import Rate
from mailqueue.outbox.rates import Batch


class Desk:
    """A ration, its clock, and how often it has asked for more or freed room."""

    def __init__(self, rate: Rate) -> None:
        self.clock = FakeClock()
        self.asked = self.freed = 0
        self.ration = Ration(rate, self.clock, asked=self._ask, freed=self._free)

    def _ask(self) -> None:
        self.asked += 1

    def _free(self) -> None:
        self.freed += 1

    def gives(self, count: int, *, delay: float = 0.0) -> None:
        """Bring a batch of instants, a tenth of a second apart."""
        self.ration.put(Batch(delay, 0.1, count), now=self.clock.monotonic())

    async def waits(self, recipients: int = 1) -> asyncio.Task[bool]:
        """Let somebody ask for leave."""
        asking = asyncio.create_task(self.ration.take(recipients))
        await asyncio.sleep(0)
        return asking

    async def passes(self, seconds: float) -> None:
        """Let time pass, and let the ration look."""
        self.clock.advance(seconds)
        self.ration._serve()
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    """Ten a second, five at once."""
    return Desk(Rate(10, 1.0, 5))


async def test_each_goes_at_its_instant_in_its_order(desk: Desk) -> None:
    """Who has asked first goes first, and nobody before his time."""
    first, second = await desk.waits(), await desk.waits()
    assert desk.ration.wanted == 2
    desk.gives(2)
    assert await first
    assert not second.done()
    await desk.passes(0.1)
    assert await second
    assert desk.ration.wanted == 0


async def test_many_recipients_go_with_the_last_of_their_instants(desk: Desk) -> None:
    """They are offered together, and so each has waited for all."""
    asking = await desk.waits(3)
    assert (desk.ration.wanted, desk.ration.least) == (3, 3)
    desk.gives(3)
    await desk.passes(0.1)
    assert not asking.done()
    await desk.passes(0.1)
    assert await asking


async def test_what_was_not_used_in_time_is_void(desk: Desk) -> None:
    """Whoever slept, or was busy for too long, makes up for nothing: that would be a burst."""
    desk.gives(5)
    await desk.passes(60)
    asking = await desk.waits()
    assert desk.asked
    assert not asking.done()
    desk.gives(1)
    assert await asking


async def test_a_burst_is_what_is_configured(desk: Desk) -> None:
    """After a stall no more go at once than that, though more had waited."""
    asking = [await desk.waits() for _ in range(10)]
    desk.clock.advance(30)
    desk.ration.put(Batch(0.0, 0.1, 10), now=desk.clock.monotonic() - 0.95)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(one.done() for one in asking) in {4, 5}
    desk.ration.send_away()
    await asyncio.gather(*asking)


async def test_no_more_is_claimed_than_goes_in_a_second(desk: Desk) -> None:
    """What waits here would only keep urgent mail waiting; room is told when half of it is free."""
    assert desk.ration.room == 10
    asking = [await desk.waits() for _ in range(10)]
    assert desk.ration.room == 0
    before = desk.freed
    desk.gives(4)
    await desk.passes(0.4)
    assert (desk.ration.room, desk.freed) == (4, before)
    desk.gives(4)
    await desk.passes(0.4)
    assert desk.freed > before
    desk.ration.send_away()
    await asyncio.gather(*asking)


async def test_a_message_that_goes_back_leaves_its_place(desk: Desk) -> None:
    """A delivery that is cut short waits no longer, and holds nobody up."""
    first, second = await desk.waits(), await desk.waits()
    first.cancel()
    await asyncio.sleep(0)
    assert desk.ration.wanted == 1
    desk.gives(1)
    assert await second


async def test_whoever_is_sent_away_may_not_begin(desk: Desk) -> None:
    """Because the relay is paused, or the limit is another."""
    asking = await desk.waits()
    desk.ration.send_away()
    assert not await asking
