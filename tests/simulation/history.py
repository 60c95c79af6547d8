"""A whole history from one seed: troubles, then none, and everything must come to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.chaos import Chaos
from tests.simulation.pace import Pace
from tests.simulation.settling import settle
from tests.simulation.world import World

_EVENTS_PER_MAIL = 4


@dataclass(frozen=True, slots=True)
class History:
    """What became of one seed. ``days`` of virtual time."""

    seed: int
    days: float
    met: Counter[str]
    trace: list[str]


def live(
    seed: int, directory: Path, pace: Pace | None = None, *, pipelining: bool = False
) -> History:
    """Live through the history of ``seed``; ``pace`` is drawn from it unless given.

    ``pipelining``: whether the relays offer it; the seed's troubles are the same either way.

    Raises `AssertionError` with the seed, how to replay it, and its last events.
    """
    with World(seed, directory, pace, pipelining=pipelining) as world:
        try:
            world.complete(_live(world))
            world.conclude()
        except Exception as error:
            option = " --pipelining" if pipelining else ""
            last = "\n".join(line[:200] for line in world.watch.trace[-25:])
            raise AssertionError(
                f"seed {seed}: {error}\nreplay: python -m tests.simulation {seed}{option}\n{last}"
            ) from error
        days = world.loop.time() / 86_400
        # What is written down at the funeral of the daemons is not history any more.
        return History(seed, days, world.watch.met.copy(), world.watch.trace.copy())


async def _live(world: World) -> None:
    pace = world.pace
    for _ in range(pace.daemons):
        world.spawn()
    await Chaos(world).reign(pace.troubles, events=_EVENTS_PER_MAIL * pace.mails)
    await settle(world)
