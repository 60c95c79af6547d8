"""The long form of the simulation: one history after the other until the time is up."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.authority import write_authority
from tests.simulation.history import live
from tests.torture.tally import Tally

SEEDS = 1_000_000
"""Apart are the seeds of two runs: each run counts on from its own multiple."""


def run(seed: int, seconds: float) -> Tally:
    """Live through histories from ``seed`` on, for so many seconds, and at least one.

    Raises `AssertionError` with the seed of the history that broke an invariant, and how to
    replay it.
    """
    end = time.monotonic() + seconds
    met: Counter[str] = Counter()
    days, runs = 0.0, 0
    with TemporaryDirectory(prefix="simulation", dir=_memory()) as directory:
        write_authority(Path(directory))
        while runs == 0 or time.monotonic() < end:
            history = live(seed * SEEDS + runs, Path(directory))
            met += history.met
            days += history.days
            runs += 1
    return Tally(
        "simulation",
        "seeded histories",
        runs,
        duplicates=met["duplicate"],
        doubts=met["doubt"],
        losses=0,
        notes=f"{days:.1f} days; {met['kill']} kills, {met['stolen lease']} leases stolen",
    )


def _memory() -> Path | None:
    """Return a directory that is no disk, where there is one: nothing here survives anyway."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None
