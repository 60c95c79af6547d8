"""Whose turn it is, told by parts that only let time pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.torture.tally import Tally
from tests.torture.turns import LONGEST, Part, Share, Turn, Turns


class _Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def _part(clock: _Clock, takes: Callable[[float], float] = lambda seconds: seconds) -> Part:
    """Return a part that takes so long, told how long it should."""

    def run(seed: int, seconds: float) -> Tally:
        clock.seconds += takes(seconds)
        return Tally("any", "seconds", round(takes(seconds)), 0, 0, 0)

    return run


def _take(shares: Mapping[str, Share], clock: _Clock, minutes: float) -> list[Turn]:
    return list(Turns(shares, 7, 60 * minutes, clock=clock))


def _used(turns: list[Turn]) -> Counter[str]:
    used: Counter[str] = Counter()
    for turn in turns:
        used[turn.part] += turn.tally.runs if turn.tally else 0
    return used


@pytest.mark.parametrize("minutes", [0.5, 3, 6, 30])
def test_every_part_gets_the_same_time(minutes: float) -> None:
    """However many minutes there are, they are used up, in even shares, and turns are bounded."""
    clock = _Clock()
    shares = {name: Share(_part(clock)) for name in "abcdef"}
    turns = _take(shares, clock, minutes)
    assert clock.seconds - 1000 == pytest.approx(60 * minutes)
    assert set(_used(turns).values()) == {60 * minutes / 6}
    assert max(turn.tally.runs for turn in turns if turn.tally) <= LONGEST


def test_who_took_too_long_gets_less_later() -> None:
    """A part that overruns its turns does not take the time of the others, nor of the whole."""
    clock = _Clock()
    shares = {
        "slow": Share(_part(clock, lambda seconds: max(seconds, 50.0))),
        "a": Share(_part(clock)),
        "b": Share(_part(clock)),
    }
    used = _used(_take(shares, clock, 10))
    assert clock.seconds - 1000 == pytest.approx(600, abs=20)
    assert used["a"] == pytest.approx(used["b"], abs=2) == pytest.approx(200, abs=20)
    assert used["slow"] == pytest.approx(200, abs=20)


def test_a_heavy_part_gets_more() -> None:
    """The time is shared by weight."""
    clock = _Clock()
    shares = {"heavy": Share(_part(clock), weight=2.0), "light": Share(_part(clock))}
    used = _used(_take(shares, clock, 9))
    assert used["heavy"] == pytest.approx(2 * used["light"], abs=2)


def test_each_turn_of_a_part_has_the_next_seed() -> None:
    """Turns differ, and the first one has the seed that was given."""
    clock = _Clock()
    turns = _take({"a": Share(_part(clock)), "b": Share(_part(clock))}, clock, 3)
    assert [turn.seed for turn in turns if turn.part == "a"] == [7, 8, 9]


def test_every_part_runs_even_where_there_is_no_time() -> None:
    """Without any time each part has one turn, which does what is least."""
    clock = _Clock()
    turns = _take({name: Share(_part(clock)) for name in "abc"}, clock, 0)
    assert [turn.part for turn in turns] == ["a", "b", "c"]


@pytest.mark.parametrize("error", [AssertionError("mail is gone"), ValueError("mail is gone")])
def test_a_failure_ends_its_part_and_no_other(error: Exception) -> None:
    """What a part raises is told with its seed; the others use the time that is left."""
    clock = _Clock()

    def fail(seed: int, seconds: float) -> Tally:
        raise error

    turns = _take({"bad": Share(fail), "good": Share(_part(clock))}, clock, 2)
    failed = [turn for turn in turns if turn.tally is None]
    assert [(turn.part, turn.seed) for turn in failed] == [("bad", 7)]
    assert "mail is gone" in failed[0].failure
    assert _used(turns)["good"] == 120
