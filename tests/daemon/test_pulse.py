"""How fast a relay answers."""

from __future__ import annotations

from mailqueue.daemon.pulse import LEAST_SECONDS, WINDOW, Pulse


def at_work(*, since: float) -> Pulse:
    """A pulse of a relay that has had something to answer since then."""
    pulse = Pulse()
    pulse.work(now=since)
    return pulse


def test_the_rate_is_that_of_the_last_whole_window() -> None:
    """What is long over says nothing any more."""
    pulse = at_work(since=100.0)
    assert pulse.rate(now=100.0) == 0
    pulse.beat(10, now=100.0)
    pulse.beat(15, now=100.0 + WINDOW / 2)
    assert pulse.rate(now=100.0 + WINDOW) == 25 / WINDOW
    assert pulse.rate(now=100.0 + 1.9 * WINDOW) == 25 / WINDOW
    assert pulse.rate(now=100.0 + 2 * WINDOW) == 0


def test_a_moment_is_enough_to_know_a_fast_relay() -> None:
    """The first window of a long queue is not lost to small claims; less than a moment is luck."""
    pulse = at_work(since=100.0)
    pulse.beat(5, now=100.001)
    assert pulse.rate(now=100.001) == 0
    pulse.beat(95, now=100.0 + LEAST_SECONDS)
    assert round(pulse.rate(now=100.0 + LEAST_SECONDS)) == round(100 / LEAST_SECONDS)


def test_a_pace_that_slackens_is_that_of_the_last_window_until_another_is_whole() -> None:
    """One slow answer is no slow relay."""
    pulse = at_work(since=100.0)
    pulse.beat(100, now=100.0)
    pulse.beat(1, now=100.0 + WINDOW + 0.1)
    assert round(pulse.rate(now=100.0 + WINDOW + 0.1)) == round(100 / (WINDOW + 0.1))


def test_only_the_time_counts_in_which_there_was_something_to_answer() -> None:
    """A relay that waited for us most of the time is as fast as it was when it did not."""
    pulse = at_work(since=100.0)
    pulse.beat(10, now=100.0)
    pulse.rest(now=100.02)
    assert round(pulse.rate(now=100.2)) == 500
    pulse.work(now=100.2)
    pulse.beat(10, now=100.2)
    pulse.rest(now=100.22)
    assert round(pulse.rate(now=100.24)) == 500
    assert round(pulse.rate(now=100.0 + WINDOW)) == 500


def test_what_is_said_twice_counts_once() -> None:
    """It is at work or it is not."""
    pulse = at_work(since=100.0)
    pulse.work(now=100.01)
    pulse.beat(10, now=100.01)
    pulse.rest(now=100.02)
    pulse.rest(now=100.2)
    assert round(pulse.rate(now=100.2)) == 500


def test_after_a_pause_it_begins_anew() -> None:
    """A burst of yesterday is no reason to claim many messages ahead today."""
    pulse = at_work(since=100.0)
    pulse.beat(1000, now=100.0)
    pulse.rest(now=100.1)
    pulse.work(now=500.0)
    pulse.beat(1, now=500.0)
    assert pulse.rate(now=500.0) == 0
    assert pulse.rate(now=500.0 + WINDOW) == 1 / WINDOW
