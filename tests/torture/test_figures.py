"""The figures: sums of the turns, and what is written down of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.marked import replaced
from tests.torture import __main__ as command
from tests.torture.figures import BEGIN, END, Figures
from tests.torture.tally import Tally
from tests.torture.turns import Share

_CRASH = Tally("crash", "kills", 1000, 3, 5, 0, notes="of daemons")
_DAYS = Tally("simulation", "seeds", 2, 1, 1, 0, Counter({"days": 3}))
_FIGURES = Figures(7, 30.0, [_CRASH, _DAYS, _CRASH, _DAYS])


def _arrange(monkeypatch: pytest.MonkeyPatch, root: Path, tally: Tally | None) -> None:
    """Let the command know one part, and documents in ``root``."""

    def run(seed: int, seconds: float) -> Tally:
        assert tally is not None, "mail is gone"
        return tally

    (root / "docs").mkdir()
    for name in ("README.md", "docs/guarantees.md"):
        (root / name).write_text(f"before {BEGIN}\nold\n{END} after")
    monkeypatch.setattr(command, "_ROOT", root)
    monkeypatch.setattr(command, "_chosen", lambda names, seed: {"crash": Share(run)})


def test_the_table_has_the_sums_of_each_part() -> None:
    """One line for each part, with what its turns counted together."""
    head, crash, simulation = _FIGURES.table().splitlines()
    assert head.split() == ["part", "runs", "duplicates", "doubts", "losses"]
    assert crash.split() == ["crash", "2,000", "kills", "6", "10", "0", "of", "daemons"]
    assert simulation.split() == ["simulation", "4", "seeds", "2", "2", "0", "6", "days"]


def test_the_documents_tell_the_same_numbers() -> None:
    """Page and README are drawn from the same sums, with the seed that leads to them."""
    assert "MINUTES=30 SEED=7" in _FIGURES.page()
    assert "| crash | 2,000 kills | 6 | 10 | 0 | of daemons |" in _FIGURES.page().splitlines()
    told = _FIGURES.sentence()
    assert "2,000 kills and 4 seeds" in told
    assert "**0 mails lost**; 8 recipients" in told


def test_a_failure_is_told_with_the_way_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The exit status is 1, nothing is recorded, and the seed stands in the last words."""
    _arrange(monkeypatch, tmp_path, None)
    result = CliRunner().invoke(command.main, ["--minutes", "0", "--seed", "7", "--record"])
    assert result.exit_code == 1
    assert "mail is gone" in result.output
    assert "--part crash --seed 7" in result.output
    assert "old" in (tmp_path / "README.md").read_text()


def test_a_loss_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A part that only counts a loss fails the whole, too."""
    _arrange(monkeypatch, tmp_path, Tally("crash", "kills", 1, 0, 0, 1))
    assert CliRunner().invoke(command.main, ["--minutes", "0"]).exit_code == 1


def test_what_went_well_is_recorded_where_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The documents change between the marks, and only with --record."""
    _arrange(monkeypatch, tmp_path, _CRASH)
    pages = [tmp_path / "README.md", tmp_path / "docs" / "guarantees.md"]
    assert CliRunner().invoke(command.main, ["--minutes", "0"]).exit_code == 0
    assert all("old" in page.read_text() for page in pages)
    assert CliRunner().invoke(command.main, ["--minutes", "0", "--record"]).exit_code == 0
    for page in pages:
        text = page.read_text()
        assert "1,000 kills" in text
        assert (text[:7], text[-6:]) == ("before ", " after")


def test_the_marks_are_in_the_documents() -> None:
    """The README and the guarantees have a place for the figures."""
    root = Path(__file__).parents[2]
    for name in ("README.md", "docs/guarantees.md"):
        assert "new" in replaced((root / name).read_text(), BEGIN, END, text="new")


def test_all_parts_of_the_folder_take_part() -> None:
    """Seven ways to break it, found by their ``run``."""
    simulated = {"simulation", "machine"}
    assert set(command.parts()) == {"crash", "power", "postgres", "matrix", "fuzz"} | simulated
