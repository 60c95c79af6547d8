"""The lifetime that every part shares."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.daemon.service import Service, Wake
from mailqueue.events import PartFailed
from tests.daemon.parts import PATIENCE, Told, turns


class Part(Service):
    """Counts its runs; raises in as many of the first as it is told to."""

    restart_pause = 0.001

    def __init__(self, told: Told, *, failures: int = 0) -> None:
        super().__init__(told.append)
        self.runs = 0
        self.failures = failures
        self.running = asyncio.Event()
        self.cancelled = False

    async def _run(self) -> None:
        self.runs += 1
        if self.runs <= self.failures:
            raise ZeroDivisionError(f"run {self.runs}")
        self.running.set()
        try:
            while not self.stopping:
                await self.wake.wait(None)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def started(part: Part) -> Part:
    """Start it and return once it runs."""
    part.start()
    await asyncio.wait_for(part.running.wait(), PATIENCE)
    return part


async def test_start_does_not_block_and_twice_is_once(told: Told) -> None:
    """A part runs once, however often it is started."""
    part = Part(told)
    part.start()
    assert part.runs == 0
    part.start()
    await started(part)
    await part.stop()
    assert part.runs == 1


async def test_stop_twice_is_harmless(told: Told) -> None:
    """Both return when it has ended, at the same time or one after the other."""
    part = await started(Part(told))
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(part.stop(), part.stop())
        await part.stop()
    assert part.runs == 1
    assert not told


async def test_stop_before_start_is_harmless(told: Told) -> None:
    """And what was stopped does not start any more."""
    part = Part(told)
    await part.stop()
    part.start()
    await turns()
    await part.stop()
    assert part.runs == 0


async def test_stop_waits_until_it_has_ended(told: Told) -> None:
    """What is under way is finished first."""

    class Slow(Part):
        async def _run(self) -> None:
            await super()._run()
            await finish.wait()

    finish = asyncio.Event()
    part = await started(Slow(told))
    stopping = asyncio.create_task(part.stop())
    await turns()
    assert not stopping.done()
    finish.set()
    await asyncio.wait_for(stopping, PATIENCE)


async def test_giving_up_on_a_stop_does_not_cut_the_part_short(told: Told) -> None:
    """Whoever waited may be cancelled; the part still ends in order."""

    class Slow(Part):
        async def _run(self) -> None:
            await super()._run()
            await finish.wait()

    finish = asyncio.Event()
    part = await started(Slow(told))
    stopping = asyncio.create_task(part.stop())
    await turns()
    stopping.cancel()
    await turns()
    finish.set()
    await asyncio.wait_for(part.stop(), PATIENCE)
    assert not part.cancelled


async def test_what_raises_is_told_and_run_again(told: Told) -> None:
    """A part that died in silence is how a queue stands still for weeks."""
    part = await started(Part(told, failures=3))
    assert part.runs == 4
    assert [event.part for event in told.of(PartFailed)] == ["Part"] * 3
    assert [str(event.error) for event in told.of(PartFailed)] == ["run 1", "run 2", "run 3"]
    await part.stop()


async def test_a_part_that_only_raises_can_be_stopped(told: Told) -> None:
    """It is not run again when it is to end, and its end does not wait for the pause."""
    part = Part(told, failures=1_000_000)
    part.restart_pause = 3600.0
    part.start()
    await turns()
    await asyncio.wait_for(part.stop(), PATIENCE)
    assert part.runs <= 2


async def test_abort_cancels(told: Told) -> None:
    """It ends without finishing what was begun; twice, and before the start, is harmless."""
    idle = Part(told)
    await idle.abort()
    part = await started(Part(told))
    await part.abort()
    await part.abort()
    assert part.cancelled
    assert not told


async def test_a_ring_before_the_wait_is_kept() -> None:
    """None is missed; several are one."""
    wake = Wake()
    wake.ring()
    wake.ring()
    assert await wake.wait(PATIENCE)
    assert not await wake.wait(0.0)


async def test_a_wait_ends_with_its_time() -> None:
    """It says that nobody rang, and a ring after that is for the next wait."""
    wake = Wake()
    assert not await wake.wait(0.0)
    wake.ring()
    assert await wake.wait(None)


@pytest.mark.parametrize("timeout", [None, 3600.0])
async def test_a_ring_ends_the_wait(timeout: float | None) -> None:
    """Whoever waits goes on at once."""
    wake = Wake()
    waiting = asyncio.create_task(wake.wait(timeout))
    await turns()
    assert not waiting.done()
    wake.ring()
    assert await asyncio.wait_for(waiting, PATIENCE)
