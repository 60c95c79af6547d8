"""The long form of the matrix: bounded, and going through everything."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.bench import Observation
from tests.faults.cells import Cell, product
from tests.torture import matrix


def test_a_turn_of_the_matrix_finds_nothing() -> None:
    """What was played is counted, and its doubts cover its duplicates."""
    tally = matrix.run(seed=1, seconds=0)
    assert (tally.part, tally.losses) == ("matrix", 0)
    assert tally.runs == len(matrix.rounds(1)[0])
    assert tally.duplicates <= tally.doubts


def test_the_rounds_of_a_seed_are_the_whole_matrix() -> None:
    """No cell comes in two rounds, and none in no round; another seed has another order."""
    played = [cell for cells in matrix.rounds(7) for cell in cells]
    assert sorted(map(str, played)) == sorted(map(str, product()))
    assert matrix.rounds(7) == matrix.rounds(7) != matrix.rounds(8)


def test_a_turn_goes_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns without time play one round each, and after the last round the next order begins."""
    played: list[Sequence[Cell]] = []

    async def check(cells: Sequence[Cell]) -> list[Observation]:
        played.append(cells)
        return []

    monkeypatch.setattr(matrix, "check", check)
    walk = matrix.begin(7)
    whole = matrix.rounds(7)
    for turn in range(len(whole) + 1):
        walk(turn, 0)
    assert played == [*whole, matrix.rounds(8)[0]]


def test_a_failure_tells_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed and the names of the cells stand in it, and the names lead back to the cells."""
    wrong = matrix.rounds(3)[0]

    async def check(cells: Sequence[Cell]) -> list[Observation]:
        raise AssertionError("something went wrong")

    monkeypatch.setattr(matrix, "check", check)
    with pytest.raises(AssertionError, match="seed 3: something went wrong") as failure:
        matrix.run(seed=3, seconds=0)
    names = str(failure.value).rpartition("tests.torture.matrix ")[2].split()
    assert [Cell.parse(name) for name in names] == wrong
