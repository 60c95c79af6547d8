"""The long form of the matrix: bounded, and going through everything."""

from __future__ import annotations

import pytest

from tests.faults.cells import Cell, product
from tests.torture import matrix


def test_a_turn_of_the_matrix_finds_nothing() -> None:
    """What was played is counted, and its doubts cover its duplicates."""
    tally = matrix.run(seed=1, seconds=0)
    assert (tally.part, tally.losses) == ("matrix", 0)
    assert 0 < tally.runs < len(matrix.portion(1))
    assert tally.duplicates <= tally.doubts


def test_seeds_in_a_row_go_through_the_whole_matrix() -> None:
    """No cell is in two portions, and none is in no portion."""
    played = [cell for seed in range(7, 7 + matrix.PORTIONS) for cell in matrix.portion(seed)]
    assert sorted(map(str, played)) == sorted(map(str, product()))


def test_a_failure_tells_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed and the names of the cells stand in it, and the names lead back to the cells."""
    wrong = matrix.portion(3)[:2]

    async def check(cells: list[Cell]) -> None:
        raise AssertionError("something went wrong")

    monkeypatch.setattr(matrix, "check", check)
    with pytest.raises(AssertionError, match="seed 3: something went wrong") as failure:
        matrix.run(seed=3, seconds=0)
    names = str(failure.value).rpartition("tests.torture.matrix ")[2].split()
    assert [Cell.parse(name) for name in names[:2]] == wrong
