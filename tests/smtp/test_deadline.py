"""One timer for all waits: it rings in time, and only for what is awaited then."""

from __future__ import annotations

import asyncio
from math import inf

from mailqueue.smtp.deadline import Deadline


async def test_it_rings_when_no_time_is_left() -> None:
    """Not before, and once."""
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    deadline = Deadline(rung.set, shortest=0.01)
    begun = loop.time()
    deadline.set(0.05)
    async with asyncio.timeout(5):
        await rung.wait()
    assert loop.time() - begun >= 0.05


async def test_a_later_wait_takes_the_place_of_the_one_before() -> None:
    """Whatever was awaited before has come."""
    rung = asyncio.Event()
    deadline = Deadline(rung.set, shortest=0.01)
    deadline.set(0.02)
    deadline.set(100.0)
    await asyncio.sleep(0.05)
    assert not rung.is_set()
    deadline.set(0.01)
    async with asyncio.timeout(5):
        await rung.wait()


async def test_nothing_awaited_nothing_rung() -> None:
    """Between two waits, and after the end, it stays silent and leaves no timer behind."""
    rung = asyncio.Event()
    deadline = Deadline(rung.set, shortest=0.01)
    deadline.set(0.02)
    deadline.set(inf)
    await asyncio.sleep(0.04)
    deadline.set(0.02)
    deadline.cancel()
    await asyncio.sleep(0.04)
    assert not rung.is_set()
