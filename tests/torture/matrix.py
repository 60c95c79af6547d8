"""The whole matrix of faults: each turn goes on where the last one ended, until all cells came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from random import Random

import click

from tests.faults.bench import Observation
from tests.faults.cells import Cell, product
from tests.faults.complaint import check
from tests.torture.tally import Tally

WEIGHT = 2.0
"""Against the other parts: half an hour in all is to be enough for every cell."""
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


class Walk:
    """Goes through all cells in an order of its seed, and then through them again in another."""

    def __init__(self, seed: int) -> None:
        self._rounds = chain.from_iterable(map(rounds, count(seed)))

    def __call__(self, seed: int, seconds: float) -> Tally:
        """Play for so many seconds, and at least one round; ``seed`` is told where that fails.

        Raises AssertionError with the cells that went wrong and how to replay them.
        """
        deadline = time.monotonic() + seconds
        total = _Sum()
        for cells in self._rounds:
            total.add(_play(cells, seed))
            if time.monotonic() >= deadline:
                break
        notes = f"of {sum(1 for _ in product()):,}"
        return Tally(
            "matrix", "fault cells", total.cells, total.duplicates, total.doubts, 0, notes=notes
        )


begin = Walk


def run(seed: int, seconds: float) -> Tally:
    """Begin with the order of ``seed`` and play for so many seconds; raises like `Walk`."""
    return begin(seed)(seed, seconds)


def rounds(seed: int) -> list[list[Cell]]:
    """Return all cells in an order of the seed, so many at a time as happen together."""
    chance = Random(seed)
    cells = list(product())
    chance.shuffle(cells)
    # Those that wait for a timeout wait together.
    quick = iter(cell for cell in cells if not cell.is_silence)
    slow = iter(cell for cell in cells if cell.is_silence)
    together = [*_cut(quick), *_cut(slow)]
    chance.shuffle(together)
    return together


def _cut(cells: Iterator[Cell]) -> Iterator[list[Cell]]:
    while some := list(islice(cells, _TOGETHER)):
        yield some


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
