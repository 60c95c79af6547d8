"""What must follow once all troubles have stopped: everything comes to its end in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.simulation.invariants import Observed
from tests.simulation.pace import HOUR
from tests.simulation.world import World

_DOZE = 600.0
_LATEST_START = HOUR
"""How much later than now a lifetime may begin (seconds): producers schedule up to this."""
_LONGEST_STOP = 400.0
"""What a daemon may take to stop (seconds): `daemon.drain`, and goodbyes."""


async def settle(world: World) -> None:
    """End all troubles, and wait for everybody; then stop the daemons.

    Raises `AssertionError` where somebody waits for longer than anything may take.
    """
    world.heal()
    for number in {one.message_id for one in world.watch.recipients() if one.state == "held"}:
        world.meddler.release(number)
    # What was scheduled before the clock was set back waits for as long.
    late = world.set_back
    await _until_all(world, _is_settled_soon, world.pace.patience + late)
    await _until_all(world, _is_settled, world.pace.give_up + _LATEST_START + late)
    for daemon in list(world.daemons):
        began = world.loop.time()
        await world.stop(daemon)
        took = world.loop.time() - began
        assert took < _LONGEST_STOP, f"{daemon.name} took {took} s to stop"


async def _until_all(world: World, settled: Callable[[Observed], bool], seconds: float) -> None:
    deadline = world.loop.time() + seconds
    while not world.watch.has_failed:
        left = [one for one in world.watch.recipients() if not settled(one)]
        if not left:
            return
        assert world.loop.time() < deadline, f"waits still, after {seconds} s: {left[:3]}"
        await asyncio.sleep(_DOZE)


def _is_settled(one: Observed) -> bool:
    """Whether no daemon has anything to do for it; what is held in doubt waits for a person."""
    return one.is_final or (one.state == "held" and one.on_doubt == "hold" and one.doubts > 0)


def _is_settled_soon(one: Observed) -> bool:
    return _is_settled(one) or one.address.startswith("never")
