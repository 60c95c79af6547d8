"""The whole matrix of faults, a portion for each seed: every cell comes in `PORTIONS` turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import click

from tests.faults.bench import Observation
from tests.faults.cells import Cell, product
from tests.faults.complaint import check
from tests.torture.tally import Tally

PORTIONS = 12
"""Turns with seeds in a row that go through the whole matrix."""
_TOGETHER = 24
"""Cells that happen at the same time, with one daemon."""


@dataclass(slots=True)
class _Sum:
    cells: int = 0
    duplicates: int = 0
    doubts: int = 0

    def add(self, observations: Sequence[Observation]) -> None:
        self.cells += len(observations)
        self.duplicates += sum(one.duplicates for one in observations)
        self.doubts += sum(one.doubts for one in observations)


def run(seed: int, seconds: float) -> Tally:
    """Play the portion of ``seed`` until the time is up, or through.

    Raises AssertionError with the cells that went wrong and how to replay them.
    """
    deadline = time.monotonic() + seconds
    total = _Sum()
    for cells in _rounds(portion(seed)):
        total.add(_play(cells, seed))
        if time.monotonic() >= deadline:
            break
    notes = f"of {sum(1 for _ in product())}"
    return Tally("matrix", "cells", total.cells, total.duplicates, total.doubts, 0, notes)


def portion(seed: int) -> list[Cell]:
    """Return the cells of one seed, in an order of its own."""
    cells = list(product())
    # Shuffled the same way for all seeds, so that each portion has something of everything.
    Random(PORTIONS).shuffle(cells)
    chosen = cells[seed % PORTIONS :: PORTIONS]
    Random(seed).shuffle(chosen)
    # Those that wait for a timeout wait together.
    return sorted(chosen, key=lambda cell: cell.is_silence)


def _rounds(cells: Sequence[Cell]) -> Iterator[Sequence[Cell]]:
    for begin in range(0, len(cells), _TOGETHER):
        yield cells[begin : begin + _TOGETHER]


def _play(cells: Sequence[Cell], seed: int) -> list[Observation]:
    try:
        return asyncio.run(check(cells))
    except (AssertionError, TimeoutError) as failure:
        replay = " ".join(map(str, cells))
        raise AssertionError(
            f"seed {seed}: {failure}\nreplay with: python -m tests.torture.matrix {replay}"
        ) from failure


@click.command()
@click.argument("names", nargs=-1, required=True)
def main(names: Sequence[str]) -> None:
    """Let the cells of these names happen again, all at once."""
    observations = asyncio.run(check([Cell.parse(name) for name in names]))
    for observation in observations:
        click.echo(f"{observation.cell}\n{observation.transcript}\n")


if __name__ == "__main__":
    main()
