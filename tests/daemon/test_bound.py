"""What one relay may use up, and what is kept for the others."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mailqueue.daemon.bound import Bound

NOTHING: dict[str, int] = {}


def test_a_relay_alone_has_everything() -> None:
    """There is nobody to keep a part for."""
    assert Bound(10, {"a": 3}).left("a", NOTHING) == 7


def test_half_is_for_whoever_comes_first_and_the_rest_in_even_parts() -> None:
    """What another relay has not used of its part stays free; what it has used more counts."""
    assert Bound(12, {"a": 0, "b": 0, "c": 0}).left("a", NOTHING) == 8
    assert Bound(12, {"a": 8, "b": 0, "c": 0}).left("a", NOTHING) == 0
    assert Bound(12, {"a": 8, "b": 0, "c": 0}).left("b", NOTHING) == 2
    assert Bound(12, {"a": 8, "b": 0, "c": 0}).left("c", {"b": 2}) == 2


def test_what_a_removed_relay_still_has_counts() -> None:
    """Memory does not care which configuration it was filled by."""
    assert Bound(10, {"a": 3}, elsewhere=4).left("a", NOTHING) == 3


@given(
    total=st.integers(1, 200),
    relays=st.integers(1, 6),
    wishes=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=30),
)
def test_nobody_takes_what_is_kept_for_another(
    total: int, relays: int, wishes: list[tuple[int, int]]
) -> None:
    """Whoever asks for how much: the total holds, and who has nothing yet still gets something."""
    names = [str(number) for number in range(relays)]
    bound, taken = Bound(total, dict.fromkeys(names, 0)), Counter[str]()
    for number, wish in wishes:
        name = names[number % relays]
        taken[name] += max(0, min(wish, bound.left(name, taken)))
    assert taken.total() <= total
    if total >= relays:
        assert all(taken[name] or bound.left(name, taken) > 0 for name in names)


@given(total=st.integers(1, 5), relays=st.integers(2, 6))
def test_where_there_is_not_one_for_each_the_first_to_come_is_served(
    total: int, relays: int
) -> None:
    """A bound below the number of relays is no reason to stand still."""
    bound = Bound(min(total, relays - 1), dict.fromkeys(map(str, range(relays)), 0))
    assert bound.left("0", NOTHING) == bound.total
