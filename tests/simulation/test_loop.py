"""The virtual loop itself: what the simulation's word is worth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.loop import Place, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    """Yield a loop that is closed afterwards."""
    loop = VirtualLoop(1)
    yield loop
    loop.close()


def _order(seed: int) -> list[int]:
    loop = VirtualLoop(seed)
    order: list[int] = []
    for number in range(20):
        loop.call_soon(order.append, number)
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    return order


async def _count(to: list[float], period: float) -> None:
    while True:
        await asyncio.sleep(period)
        to.append(asyncio.get_running_loop().time())


def test_time_passes_only_by_waiting(loop: VirtualLoop) -> None:
    """A day of waiting is a day on the loop's clock, exactly, however short it took."""
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == 86_400


def test_what_is_ready_runs_in_an_order_of_the_seed() -> None:
    """The order of what is ready is shuffled, and the same for the same seed."""
    assert _order(1) == _order(1) != _order(2)
    assert sorted(_order(1)) == list(range(20)) != _order(1)


def test_waiting_for_nobody_is_an_error(loop: VirtualLoop) -> None:
    """Where everybody waits and no timer runs, the loop says so and does not hang."""
    with pytest.raises(RuntimeError, match="everybody waits"):
        loop.run_until_complete(loop.create_future())


def test_a_frozen_place_goes_on_where_it_was(loop: VirtualLoop) -> None:
    """Nothing of a frozen process runs, its timers are late, and its neighbour notices nothing."""
    place, own, others = Place("a"), [], []  # type: ignore[var-annotated]
    tasks = [
        loop.create_task(_count(own, 10), context=place.inside()),
        loop.create_task(_count(others, 10), context=Place("b").inside()),
    ]
    loop.run_until_complete(asyncio.sleep(25))
    place.is_frozen = True
    loop.run_until_complete(asyncio.sleep(50))
    place.thaw(loop)
    loop.run_until_complete(asyncio.sleep(5.5))
    assert own == [10, 20, 75]
    assert others == [10, 20, 30, 40, 50, 60, 70, 80]
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))


def test_a_dead_place_runs_no_handler(loop: VirtualLoop) -> None:
    """Nothing of a killed process runs, not even what would run on its cancellation."""
    ran: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ran.append("a handler")

    place = Place("a")
    task = loop.create_task(work(), context=place.inside())
    loop.run_until_complete(asyncio.sleep(1))
    place.is_dead = True
    (left,) = loop.bury(place)
    task.cancel()
    loop.run_until_complete(asyncio.sleep(100))
    assert left is task
    assert not task.done()
    assert not ran
    task.get_coro().close()
