from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.division import Claim, divide

LIMITS = st.integers(0, 200)
CLAIMS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(0, 250), st.integers(0, 250)),
    min_size=1,
    max_size=12,
).map(lambda found: [Claim(worker, *numbers) for worker, numbers in found.items()])


@pytest.mark.parametrize(
    ("limit", "wanted", "parts"),
    [
        (10, [10], [10]),
        (10, [0], [10]),
        (10, [10, 10], [5, 5]),
        (10, [10, 0], [10, 0]),
        (10, [7, 0], [7, 3]),
        (10, [3, 0], [5, 5]),
        (10, [2, 10, 10], [2, 4, 4]),
        (3, [3, 3, 3, 3], [1, 1, 1, 0]),
        (0, [5, 5], [0, 0]),
        (10, [0, 0, 0, 0], [3, 3, 2, 2]),
    ],
)
def test_the_parts(limit: int, wanted: list[int], parts: list[int]) -> None:
    """As many as each wants, in even parts where that is too much; the rest to who has least."""
    claims = [Claim(f"w{number}", want) for number, want in enumerate(wanted)]
    assert list(divide(limit, claims).values()) == parts


@given(LIMITS, CLAIMS)
def test_all_parts_together_are_the_limit(limit: int, claims: list[Claim]) -> None:
    """Nothing is given twice, and nothing lies idle."""
    assert sum(divide(limit, claims).values()) == limit


@given(LIMITS, CLAIMS)
def test_nobody_is_short_while_another_has_more_than_he_wants(
    limit: int, claims: list[Claim]
) -> None:
    """Work is conserved: an idle worker's part goes to one that can use it."""
    parts = divide(limit, claims)
    short = [one for one in claims if parts[one.worker] < min(one.wanted, limit)]
    assert not short or all(parts[one.worker] <= one.wanted for one in claims)


@given(LIMITS, CLAIMS)
def test_whoever_is_short_has_as_much_as_anybody(limit: int, claims: list[Claim]) -> None:
    """Nobody has more than one place above somebody who wants more than he got."""
    parts = divide(limit, claims)
    short = [parts[one.worker] for one in claims if parts[one.worker] < min(one.wanted, limit)]
    assert not short or max(parts.values()) <= min(short) + 1


@given(LIMITS, CLAIMS)
def test_a_division_that_stands_is_left_as_it_is(limit: int, claims: list[Claim]) -> None:
    """Dividing again moves nothing: no session is closed for the sake of symmetry."""
    parts = divide(limit, claims)
    again = [Claim(one.worker, one.wanted, parts[one.worker]) for one in claims]
    assert divide(limit, again) == parts


@given(LIMITS, CLAIMS)
def test_everybody_comes_to_the_same_division(limit: int, claims: list[Claim]) -> None:
    """It does not depend on the order in which the claims are read."""
    assert divide(limit, claims) == divide(limit, claims[::-1])
