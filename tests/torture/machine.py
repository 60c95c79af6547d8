"""The long form of the state machine: more and longer examples, until the time is up."""

from __future__ import annotations

import time
from itertools import count

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import Machine
from tests.torture.tally import Tally

EXAMPLES = 10
STEPS = 40


def run(seed: int, seconds: float) -> Tally:
    """Let the machine run from ``seed`` on, for so many seconds, and at least once.

    Raises `AssertionError` with the seed, and how to replay it.
    """
    end = time.monotonic() + seconds
    for runs in count():
        if runs and time.monotonic() >= end:
            break
        _run_once(f"{seed}-{runs}")
    return Tally("machine", "walks", runs * EXAMPLES, duplicates=0, doubts=0, losses=0)


def _run_once(seed: str) -> None:
    class Seeded(Machine):
        pass

    hypothesis.seed(seed)(Seeded)  # type: ignore[arg-type]
    try:
        run_state_machine_as_test(Seeded, settings=bounds(EXAMPLES, STEPS))
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error


def bounds(examples: int, steps: int) -> settings:
    """Return how long the machine runs: so many walks of at most so many steps."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
