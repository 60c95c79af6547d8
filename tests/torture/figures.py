"""The figures of a torture: as a table for the terminal, and as Markdown for the documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from textwrap import fill
from typing import Final

from tests.torture.tally import Tally

BEGIN: Final = "<!-- figures: from make torture -->"
END: Final = "<!-- /figures -->"
_LINE = 105
"""The longest line in the README's paragraphs."""
_HEADS = ("part", "runs", "", "duplicates", "doubts", "losses", "")
_MARKDOWN_HEADS = ("Part", "Runs", "Duplicates", "Doubts", "Losses", "")


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of so many ``minutes`` from ``seed`` on, in the ``turns`` of all parts."""

    seed: int
    minutes: float
    turns: Sequence[Tally]

    @property
    def sums(self) -> Mapping[str, Tally]:
        """The sums of each part."""
        by_part: dict[str, list[Tally]] = {}
        for turn in self.turns:
            by_part.setdefault(turn.part, []).append(turn)
        return {part: reduce(add, turns) for part, turns in by_part.items()}

    @property
    def losses(self) -> int:
        """How much was acknowledged and is gone."""
        return sum(turn.losses for turn in self.turns)

    def table(self) -> str:
        """Return the sums as lines with columns."""
        rows = [_HEADS, *map(_row, self.sums.values())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def page(self) -> str:
        """Return them as Markdown for docs/guarantees.md."""
        rows = [
            "| " + " | ".join((part, f"{runs} {unit}", *counts)) + " |"
            for part, runs, unit, *counts in map(_row, self.sums.values())
        ]
        return "\n".join(
            [
                f"`make torture MINUTES={self.minutes:g} SEED={self.seed}` on {_cores()}:",
                "",
                f"| {' | '.join(_MARKDOWN_HEADS)} |",
                "|---|---|---|---|---|---|",
                *rows,
            ]
        )

    def sentence(self) -> str:
        """Return them in a few words, for the README."""
        runs = [f"{one.runs:,} {one.unit}" for one in self.sums.values()]
        duplicates = sum(one.duplicates for one in self.turns)
        told = " and ".join(filter(None, [", ".join(runs[:-1]), runs[-1]]))
        return fill(
            f"In {self.minutes:g} minutes on {_cores()}: {told}. **{self.losses} mails lost**; "
            f"{duplicates:,} recipients were sent to more than once, "
            "each with the doubt on record.",
            width=_LINE,
            break_on_hyphens=False,
        )


def _row(sum_: Tally) -> tuple[str, ...]:
    return (
        sum_.part,
        f"{sum_.runs:,}",
        sum_.unit,
        f"{sum_.duplicates:,}",
        f"{sum_.doubts:,}",
        f"{sum_.losses:,}",
        sum_.remarks,
    )


def _cores() -> str:
    cores = os.cpu_count() or 1
    return "one core" if cores == 1 else f"{cores} cores"
