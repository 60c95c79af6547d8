"""Processes that die at every place there is, and at any time; the books agree afterwards."""

from __future__ import annotations

import pytest

from mailqueue.failpoint import DAILY
from tests.torture import crash

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HALVES = pytest.param(DAILY[::2], id="before"), pytest.param(DAILY[1::2], id="after")


@pytest.mark.parametrize("points", HALVES)
def test_a_kill_at_any_fail_point_loses_nothing_and_doubles_only_what_is_in_doubt(
    points: tuple[str, ...],
) -> None:
    """Each named place is really reached, and a SIGKILL there costs no acknowledged mail."""
    tally = crash.at_each(1, points)
    assert tally.runs >= len(points)
    assert tally.losses == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_random_lose_nothing_and_double_only_what_is_in_doubt(seed: int) -> None:
    """Daemons and producers die at any moment; whoever got a mail twice has doubt on record."""
    tally = crash.at_random(seed, 8)
    assert tally.runs >= 24
    assert tally.doubts > 0, "no seed led to doubt: nothing was tried"
    assert tally.losses == 0
