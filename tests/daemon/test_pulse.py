"""How fast a relay answers."""

from __future__ import annotations

from mailqueue.daemon.pulse import WINDOW, Pulse


def test_the_rate_is_that_of_the_last_whole_window() -> None:
    """What has just begun says nothing yet, and what is long over says nothing any more."""
    pulse = Pulse()
    assert pulse.rate(now=100.0) == 0
    pulse.beat(10, now=100.0)
    pulse.beat(15, now=100.0 + WINDOW / 2)
    assert pulse.rate(now=100.0 + WINDOW / 2) == 0
    assert pulse.rate(now=100.0 + WINDOW) == 25 / WINDOW
    assert pulse.rate(now=100.0 + 1.9 * WINDOW) == 25 / WINDOW
    assert pulse.rate(now=100.0 + 2 * WINDOW) == 0


def test_after_a_pause_it_begins_anew() -> None:
    """A burst of yesterday is no reason to claim many messages ahead today."""
    pulse = Pulse()
    pulse.beat(1000, now=100.0)
    pulse.beat(1, now=500.0)
    assert pulse.rate(now=500.0) == 0
    assert pulse.rate(now=500.0 + WINDOW) == 1 / WINDOW
