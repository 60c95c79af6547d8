"""Transactions that wait for a relay's rate."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.clock import FakeClock
from mailqueue.daemon.ration import Ration, Turn
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

    async def waits(self, recipients: int = 1) -> asyncio.Task[Turn | None]:
        """Let somebody ask for a turn."""
        asking = asyncio.create_task(self.ration.turn(recipients))
        await asyncio.sleep(0)
        return asking


@pytest.fixture
def desk() -> Desk:
    """Ten a second, five at once."""
    return Desk(Rate(10, 1.0, 5))


async def test_turns_come_in_the_order_in_which_they_were_asked_for(desk: Desk) -> None:
    """Each has the next instant, and more are asked for where there are none."""
    first, second = await desk.waits(), await desk.waits()
    assert desk.ration.wanted == 2
    assert desk.asked
    desk.gives(2)
    assert await first == Turn(0.0, 0.0, 1)
    assert await second == Turn(0.1, 0.1, 1)
    assert desk.ration.wanted == 0


async def test_many_recipients_go_with_the_last_of_their_instants(desk: Desk) -> None:
    """They are offered together, and so each has waited for all."""
    asking = await desk.waits(3)
    assert (desk.ration.wanted, desk.ration.least) == (3, 3)
    desk.gives(2)
    assert desk.ration.least == 1
    desk.gives(1, delay=0.2)
    assert await asking == Turn(0.0, 0.2, 3)


async def test_nobody_begins_before_his_turn(desk: Desk) -> None:
    """A turn is known a little earlier, so that a session can be opened meanwhile."""
    coming = asyncio.create_task(desk.ration.comes(Turn(0.0, 0.05, 1)))
    await asyncio.sleep(0)
    assert not coming.done()
    desk.clock.advance(0.05)
    async with asyncio.timeout(5):
        assert await coming


async def test_whoever_missed_his_turn_waits_for_another(desk: Desk) -> None:
    """However long it took to open a session: he makes up for nothing."""
    desk.clock.advance(60)
    coming = asyncio.create_task(desk.ration.comes(Turn(0.0, 0.0, 1)))
    await asyncio.sleep(0)
    assert desk.ration.wanted == 1
    desk.gives(1)
    assert await coming
    desk.clock.advance(60)
    coming = asyncio.create_task(desk.ration.comes(Turn(60.0, 60.0, 1)))
    await asyncio.sleep(0)
    desk.ration.send_away()
    assert not await coming


async def test_what_was_not_used_in_time_is_void(desk: Desk) -> None:
    """No more are kept than may be used at once: that would be a burst."""
    desk.gives(20)
    desk.clock.advance(1.95)
    found = [await desk.waits() for _ in range(20)]
    await asyncio.sleep(0)
    assert sum(one.done() for one in found) == 4
    desk.ration.send_away()
    await asyncio.gather(*found)


async def test_no_more_is_claimed_than_goes_in_a_second(desk: Desk) -> None:
    """What waits here would only keep urgent mail waiting; room is told when half of it is free."""
    assert desk.ration.room == 10
    asking = [await desk.waits() for _ in range(10)]
    assert desk.ration.room == 0
    desk.gives(4)
    assert (desk.ration.room, desk.freed) == (4, 0)
    desk.gives(4)
    assert desk.ration.room == 8
    assert desk.freed
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
    assert await asking is None


async def test_instants_are_measured_by_the_lower_rate_of_another(desk: Desk) -> None:
    """They are as far apart as that says, and good for as long; no more is claimed than goes."""
    desk.ration.put(Batch(0.0, 1.0, 3), now=0.0)
    assert desk.ration.room == 1
    desk.clock.advance(3.5)
    assert await desk.ration.turn(1) == Turn(0.0, 0.0, 1)
    assert desk.ration.is_here(Turn(0.0, 0.0, 1))
    assert await desk.ration.comes(Turn(0.0, 0.0, 1))
