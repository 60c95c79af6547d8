from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.rate import Rate, reserve

SECOND = 1_000_000
RATES = st.builds(
    Rate,
    st.integers(1, 2_000),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.integers(1, 500),
)


@pytest.mark.parametrize(
    ("rate", "spacing", "within"),
    [
        (Rate(14, 1.0, 14), 1 / 14, 14),
        (Rate(1000, 3600.0, 1), 3.6, 1),
        (Rate(2, 1.0, 2), 0.5, 2),
    ],
)
def test_a_rate_is_a_spacing(rate: Rate, spacing: float, within: int) -> None:
    """So much time lies between two recipients, and so many are in a second."""
    assert rate.spacing == pytest.approx(spacing)
    assert rate.within(1.0) == within


ASKS = st.lists(
    st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 30), st.integers(1, 5)), max_size=40
)


@given(RATES, ASKS)
def test_no_instant_is_given_twice_nor_two_too_close(
    rate: Rate, asks: list[tuple[int, int, int]]
) -> None:
    """Whoever asks, and whenever: all that is given out is evenly spaced, and none of it past."""
    now, next_at, spacing = 1_700_000_000 * SECOND, 0, rate.spacing * SECOND
    given_out: list[float] = []
    for passed, wanted, least in asks:
        now += passed
        got = reserve(
            next_at, now=now, spacing=spacing, wanted=wanted, least=least, ahead=SECOND // 2
        )
        next_at = got.next_at
        given_out += [got.first_at + number * spacing for number in range(got.count)]
        assert got.first_at >= now
        assert got.count == 0 or got.count >= least
    # A microsecond is what rounding may take away.
    assert all(b - a >= spacing - 1.01 for a, b in pairwise(given_out))


@given(RATES, st.integers(0, 3 * SECOND), st.integers(1, 30))
def test_nobody_holds_what_is_far_away(rate: Rate, ahead: int, wanted: int) -> None:
    """What is given out begins within the time that one may look ahead, and the rest is left."""
    now, spacing = 1_700_000_000 * SECOND, rate.spacing * SECOND
    got = reserve(0, now=now, spacing=spacing, wanted=wanted, least=1, ahead=ahead)
    assert got.count <= wanted
    assert got.count >= 1
    assert got.first_at + (got.count - 1) * spacing <= now + max(ahead, 0) + 1
    late = reserve(now + ahead + 1, now=now, spacing=spacing, wanted=wanted, least=1, ahead=ahead)
    assert late.count == 0


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    """What was given out by the other time is forgotten, but for as much as can be under way."""
    now = 1_700_000_000 * SECOND
    got = reserve(
        now + 3600 * SECOND, now=now, spacing=SECOND, wanted=5, least=1, ahead=SECOND // 2
    )
    assert got.count == 0
    assert got.next_at - now <= 201 * SECOND


USES = st.lists(
    st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 8), st.integers(0, SECOND)), max_size=60
)


@given(RATES.filter(lambda rate: rate.burst >= 2), USES)
def test_no_stretch_of_time_has_more_than_rate_and_burst_allow(
    rate: Rate, uses: list[tuple[int, int, int]]
) -> None:
    """However late instants are used: what is not used in time is void."""
    now, next_at, spacing = 1_700_000_000 * SECOND, 0, rate.spacing * SECOND
    used: list[float] = []
    for passed, recipients, late in uses:
        now += passed
        need = min(recipients, rate.burst)
        got = reserve(next_at, now=now, spacing=spacing, wanted=need, least=need, ahead=SECOND // 2)
        next_at = got.next_at
        if not got.count:
            continue
        at = got.first_at + (need - 1) * spacing + late
        if at - got.first_at <= rate.patience(need) * SECOND:
            used += [at] * need
    used.sort()
    for begin in range(len(used)):
        for end in range(begin, len(used)):
            allowed = rate.burst + (used[end] - used[begin]) / spacing
            assert end - begin + 1 <= allowed + 0.5 + 1e-3
