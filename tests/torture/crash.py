"""The real daemon and a real producer, killed at random and at every fail point, and restarted."""

from __future__ import annotations

import asyncio
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

from mailqueue.failpoint import ACTIONS, DAILY
from tests.torture.audit import Audit
from tests.torture.ordeal import Ordeal
from tests.torture.tally import Tally

AT_ONCE = 3
"""Outboxes that are tortured side by side: while one process starts, another one dies."""
_LIVES = 12
"""Daemons that die in each outbox before the books are looked at."""
_WALK_SECONDS = 20.0
"""What there must be for a walk along all fail points."""
_LONGEST_LIFE = 0.5
"""Seconds from when a daemon is at work until it is killed."""
_STILLBORN = 0.2
"""How often that time begins with the process, which may not have come to its work by then."""
_REACH_SECONDS = 60.0
_OF_PRODUCER = tuple(point for point in DAILY if "enqueue" in point)
_OF_DAEMON = tuple(point for point in DAILY if point not in _OF_PRODUCER)
# Somebody must have died with leases before anybody can reap them.
_BEFOREHAND = dict.fromkeys(("before-reap-commit", "after-reap-commit"), "after-claim-commit")


def run(seed: int, seconds: float) -> Tally:
    """Kill for about so many seconds: where there is time first at each fail point, then at random.

    Raises AssertionError with how to replay it. The seed settles what is killed, where and after
    how long; how far each process had come by then is the machine's doing.
    """
    deadline = time.monotonic() + seconds
    found = _walk(seed, DAILY) if seconds > _WALK_SECONDS else []
    chapter = 0
    while not found or time.monotonic() < deadline:
        found += _die_at_random(seed, chapter, _LIVES)
        chapter += 1
    return _tally(found)


def at_each(seed: int, points: Sequence[str]) -> Tally:
    """Kill once at each of ``points``; each must be reached. Raises like `run`."""
    return _tally(_walk(seed, points))


def at_random(seed: int, lives: int) -> Tally:
    """Let so many daemons die in each of the outboxes, at any moment. Raises like `run`."""
    return _tally(_die_at_random(seed, 0, lives))


Dying = Callable[[Ordeal], Awaitable[None]]
"""What the processes of an ordeal go through before the books are looked at."""
Found = tuple[int, Audit]
"""How many were killed, and what the books said."""


def _walk(seed: int, points: Sequence[str]) -> list[Found]:
    shares = [points[one::AT_ONCE] for one in range(AT_ONCE)]
    replay = f"at_each({seed}, {'DAILY' if points == DAILY else points})"
    return _side_by_side(f"{seed}-walk", [_at_each(share) for share in shares], replay)


def _die_at_random(seed: int, chapter: int, lives: int) -> list[Found]:
    name = f"{seed}-{chapter}"
    dying = [_at_random(Random(f"{name}-{one}"), lives) for one in range(AT_ONCE)]
    return _side_by_side(name, dying, f"run({seed}, 60)")


def _side_by_side(name: str, dying: Sequence[Dying], replay: str) -> list[Found]:
    async def together() -> list[Found]:
        async with asyncio.TaskGroup() as group:
            ordeals = [
                group.create_task(_ordeal(f"{name}-{one}", part)) for one, part in enumerate(dying)
            ]
        return [ordeal.result() for ordeal in ordeals]

    try:
        return asyncio.run(together())
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        told = "".join(traceback.format_exception_only(first))
        raise AssertionError(
            f"crash {name}: {told}\nreplay: python -c 'from tests.torture.crash import *; {replay}'"
        ) from first


async def _ordeal(name: str, dying: Dying) -> Found:
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        async with Ordeal(Path(directory), name) as ordeal:
            await dying(ordeal)
            audit = await ordeal.recover()
            assert not audit.losses, "\n".join(audit.losses)
            return ordeal.kills, audit


def _at_random(chance: Random, lives: int) -> Dying:
    async def dying(ordeal: Ordeal) -> None:
        for _ in range(lives):
            await _one_life(ordeal, chance)

    return dying


async def _one_life(ordeal: Ordeal, chance: Random) -> None:
    """Let a daemon live for a while, at times beside another one, and the producer die at times."""
    await ordeal.produce(_armed(_OF_PRODUCER, chance) if chance.random() < 0.2 else "")
    lives = [ordeal.send(_armed(_OF_DAEMON, chance) if chance.random() < 0.5 else "")]
    if chance.random() < 0.2:
        lives.append(ordeal.send())
    if chance.random() > _STILLBORN:
        await ordeal.at_work(lives[0])
    for life in lives:
        status = await life.ended(chance.uniform(0.01, _LONGEST_LIFE))
        if status is None:
            await ordeal.end(life)
        else:
            ordeal.ended(life, status)


def _armed(points: Sequence[str], chance: Random) -> str:
    return f"{chance.choice(points)}:{chance.randint(1, 8)}:{chance.choice(ACTIONS)}"


def _at_each(points: Sequence[str]) -> Dying:
    async def dying(ordeal: Ordeal) -> None:
        for point in points:
            if point in _BEFOREHAND:
                await _die_at(ordeal, _BEFOREHAND[point])
            await _die_at(ordeal, point)

    return dying


async def _die_at(ordeal: Ordeal, point: str) -> None:
    armed = f"{point}:1:kill"
    if point in _OF_PRODUCER:
        life = await ordeal.produce(armed)
    else:
        await ordeal.produce()
        life = ordeal.send(armed)
    status = await life.ended(_REACH_SECONDS)
    assert status is not None, f"the fail point {point} was not reached"
    ordeal.ended(life, status)


def _tally(found: Sequence[Found]) -> Tally:
    audits = [audit for _, audit in found]
    return Tally(
        part="crash",
        unit="kills",
        runs=sum(kills for kills, _ in found),
        duplicates=sum(audit.duplicates for audit in audits),
        doubts=sum(audit.doubts for audit in audits),
        losses=sum(len(audit.losses) for audit in audits),
        notes="of daemons and producers",
    )
