"""Whole histories by seed, in virtual time."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from tests.simulation.history import live
from tests.simulation.pace import HOUR, Pace
from tests.simulation.sometimes import missing
from tests.torture import machine, simulation

_FIRST, _LAST = 2, 14
"""Seeds of whole histories; the first few of them have been seen to be enough."""
_SHORT = Pace(
    troubles=0.5 * HOUR,
    mails=8,
    daemons=2,
    lease=HOUR,
    backoff=30.0,
    longest_backoff=300.0,
    give_up=HOUR,
    connections=2,
    timeouts={},
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_histories_hold_and_reach_every_trouble(directory: Path) -> None:
    """No history breaks an invariant, and a few together meet every trouble there is."""
    met: Counter[str] = Counter()
    for seed in count(_FIRST):
        met += live(seed, directory).met
        if not missing(met):
            return
        assert seed < _LAST, f"no seed up to {seed} has met {sorted(missing(met))}"


@pytest.mark.timeout(300)
def test_histories_hold_where_commands_come_in_groups(directory: Path) -> None:
    """Relays that offer PIPELINING, and send replies in any segments, change no promise."""
    assert live(1, directory, _SHORT, pipelining=True).met["sent"] > 0


@pytest.mark.timeout(300)
def test_the_same_seed_is_the_same_history(directory: Path) -> None:
    """The same seed leads to the same history, line by line, and another one to another."""
    first, again, other = (live(seed, directory, _SHORT).trace for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", [simulation, machine])
def test_the_long_forms_run_at_least_once(part: object) -> None:
    """Even without any time the long forms count one run, and no loss."""
    tally = part.run(7, 0.0)  # type: ignore[attr-defined]
    assert tally.runs >= 1
    assert tally.losses == 0
