"""The long form of the simulation: one history after the other until the time is up."""

from __future__ import annotations

import time
from collections import Counter

from tests.simulation.history import live
from tests.simulation.place import place
from tests.torture.tally import Tally

_APART = 1_000_000
"""How far the seeds of two runs are apart; each run counts on from its own."""


def run(seed: int, seconds: float) -> Tally:
    """Live through histories from ``seed`` on, for so many seconds, and at least one.

    Raises `AssertionError` with the seed of the history that broke an invariant, and how to
    replay it.
    """
    end = time.monotonic() + seconds
    met: Counter[str] = Counter()
    days, runs = 0.0, 0
    with place() as directory:
        while runs == 0 or time.monotonic() < end:
            history = live(seed * _APART + runs, directory, pipelining=runs % 2 == 1)
            met += history.met
            days += history.days
            runs += 1
    return Tally(
        "simulation",
        "seeded histories",
        runs,
        duplicates=met["duplicate"],
        doubts=met["doubt"],
        # One would have raised.
        losses=0,
        further=Counter(
            {
                "days": round(days),
                "mails": met["mail"],
                "kills": met["kill"],
                "leases stolen": met["stolen lease"],
            }
        ),
    )
