"""Nearly right octets for every reader of what comes from outside, chosen by a seed."""

from __future__ import annotations

import random
import time

from tests.fuzz.corpus import mutations
from tests.fuzz.targets import TARGETS
from tests.torture.tally import Tally

_AT_ONCE = 50
"""Inputs for one target before the next one has its turn."""


def run(seed: int, seconds: float) -> Tally:
    """Feed every target in turn for ``seconds``; AssertionError tells how to see a failure again.

    The tally counts inputs. Nothing is sent, so nothing can be lost or doubled.
    """
    deadline = time.monotonic() + seconds
    streams = {name: mutations(name, random.Random(f"{seed} {name}")) for name in TARGETS}
    runs = 0
    while time.monotonic() < deadline:
        for name, stream in streams.items():
            for _ in range(_AT_ONCE):
                _feed(name, next(stream), seed)
            runs += _AT_ONCE
    return Tally(
        "fuzz", "hostile inputs", runs, duplicates=0, doubts=0, losses=0, notes="none broke"
    )


def _feed(name: str, octets: bytes, seed: int) -> None:
    try:
        TARGETS[name](octets)
    except Exception as error:
        raise AssertionError(
            f"seed {seed}: {octets!r} broke the target {name!r} ({error!r}); see it again with "
            f"python -c 'from tests.fuzz.targets import TARGETS; TARGETS[{name!r}]({octets!r})'"
        ) from error
