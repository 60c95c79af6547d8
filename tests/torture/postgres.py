"""Daemons and producers on PostgreSQL, where anything may die: what was acknowledged is sent."""

from __future__ import annotations

import asyncio
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from tests.support.postgres import PostgresServer
from tests.torture.cluster import Cluster
from tests.torture.tally import Tally

WEIGHT: Final = 2.0
_ROUNDS = 6
"""Troubles of each queue, besides the one that every queue goes through."""
_resumed: list[float] = []
"""How long it took each time until mail went again, in all turns."""

Trouble = Callable[[Cluster, Random], Awaitable[object]]

_TROUBLES: Final[tuple[Trouble, ...]] = (
    lambda cluster, chance: cluster.kill_server(),
    lambda cluster, chance: cluster.shut_server_down(),
    lambda cluster, chance: cluster.terminate(),
    lambda cluster, chance: cluster.cut_everything(),
    lambda cluster, chance: cluster.cut_commits(chance),
    lambda cluster, chance: cluster.cut_commits(chance),
    lambda cluster, chance: cluster.kill_daemon(chance),
    lambda cluster, chance: cluster.kill_producer(chance),
)


def run(seed: int, seconds: float) -> Tally:
    """Torture for so many seconds. Raises `AssertionError` with the seed, and how to replay it."""
    end = time.monotonic() + seconds
    total, turn = Tally("postgres", "troubles", 0, 0, 0, 0), 0
    while turn == 0 or time.monotonic() < end:
        name = f"{seed}-{turn}"
        try:
            total += ordeal(name)
        except Exception as error:
            told = "".join(traceback.format_exception_only(error))
            replay = f"python -c 'from tests.torture.postgres import *; ordeal(\"{name}\")'"
            raise AssertionError(f"postgres {name}: {told}\nreplay: {replay}") from error
        turn += 1
    return total


def ordeal(seed: str, *, rounds: int = _ROUNDS, failover: bool | None = None) -> Tally:
    """Let one queue go through so many troubles by chance, and then compare the books.

    In each a daemon is stopped past its lease, the server killed and a producer killed meanwhile.
    ``failover``: whether at last a standby takes over; by default in every other queue. The seed
    settles what happens; how far everybody had come by then is the machine's doing.
    """
    with PostgresServer() as server, tempfile.TemporaryDirectory(prefix="torture-") as directory:
        return asyncio.run(_ordeal(server, Path(directory), seed, rounds, failover))


async def _ordeal(
    server: PostgresServer, directory: Path, seed: str, rounds: int, failover: bool | None
) -> Tally:
    chance = Random(seed)
    cluster = Cluster(directory, server, seed)
    try:
        async with cluster:
            await cluster.sent(20)
            for _ in range(rounds):
                await chance.choice(_TROUBLES)(cluster, chance)
                await cluster.sent(chance.randint(1, 20))
            await cluster.stall_daemon(chance, partial(_die_meanwhile, cluster, chance))
            if chance.random() < 0.5 if failover is None else failover:
                await cluster.fail_over()
            audit, notes = await cluster.settle()
    finally:
        cluster.close_standby()
    assert not audit.losses, "\n".join(audit.losses)
    _resumed.extend(cluster.resumed)
    return Tally(
        "postgres",
        "troubles",
        cluster.happened.total(),
        audit.duplicates,
        audit.doubts,
        len(audit.losses),
        Counter({"mails acknowledged": len(notes.stored), **cluster.happened}),
        f"mail went again {max(_resumed):.1f} s after the server was back, at the latest",
    )


async def _die_meanwhile(cluster: Cluster, chance: Random) -> None:
    await cluster.kill_server()
    await cluster.kill_producer(chance)
