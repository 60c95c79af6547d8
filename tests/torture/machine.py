"""The long form of the state machine: more walks, until the time is up."""

from __future__ import annotations

import time
from collections import Counter
from typing import ClassVar

import hypothesis

from tests.simulation.machine import Machine, walk
from tests.torture.tally import Tally

_WALKS = 5
"""In one go; each is a history of some forty acts of producers, operators and machines."""
_STEPS = 40


def run(seed: int, seconds: float) -> Tally:
    """Let the machine walk from ``seed`` on, for so many seconds, and at least once.

    Raises `AssertionError` with the seed, and how to replay it.
    """
    end = time.monotonic() + seconds
    met: Counter[str] = Counter()
    runs = 0
    while runs == 0 or time.monotonic() < end:
        met += _go(f"machine {seed} {runs}")
        runs += 1
    return Tally(
        "machine",
        "random walks",
        met["walk"],
        duplicates=met["duplicate"],
        doubts=met["doubt"],
        # One would have raised.
        losses=0,
        further=Counter({"kills": met["kill"], "leases stolen": met["stolen lease"]}),
    )


def _go(seed: str) -> Counter[str]:
    class Seeded(Machine):
        """The machine with a seed and a count of its own."""

        met: ClassVar[Counter[str]] = Counter()

    hypothesis.seed(seed)(Seeded)
    try:
        walk(Seeded, walks=_WALKS, steps=_STEPS)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        replay = f"python -m tests.torture.machine '{seed}'"
        raise AssertionError(f"seed {seed!r}: {error}\nreplay: {replay}\n{notes}") from error
    return Seeded.met


if __name__ == "__main__":
    import sys

    _go(sys.argv[1])
