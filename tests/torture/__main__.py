"""``python -m tests.torture --minutes 30``: every part in turn until time is up, and a table."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from random import SystemRandom

import click

from tests.torture.tally import Tally

Part = Callable[[int, float], Tally]
"""Runs with a seed for about so many seconds."""

_TURN = 30.0
"""Seconds that each part has, at most, before the next one comes."""
_HEADS = ("part", "runs", "", "duplicates", "doubts", "losses", "")


@click.command()
@click.option("--minutes", type=float, default=30, show_default=True, help="In all.")
@click.option("--seed", type=int, help="Of the first turn; each turn has the next one.")
@click.option("--part", "names", multiple=True, help="Only this; may be given again.")
def main(minutes: float, seed: int | None, names: Sequence[str]) -> None:
    """Torture the queue, and say what became of the mail."""
    known = parts()
    chosen = {name: known[name] for name in names or known}
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    click.echo(f"seed {seed}, parts {', '.join(chosen)}")
    tallies: list[Tally] = []
    failure = _take_turns(chosen, seed, 60 * minutes, tallies)
    click.echo(table(tallies))
    if failure is not None:
        click.echo(f"\nFAILED: {failure}", err=True)
        sys.exit(1)


def parts() -> Mapping[str, Part]:
    """Return every module of this folder that has a ``run``."""
    names = [found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)])]
    chosen = [name for name in names if not name.startswith(("_", "test_"))]
    modules = {name: importlib.import_module(f"tests.torture.{name}") for name in chosen}
    return {name: module.run for name, module in modules.items() if hasattr(module, "run")}


def _take_turns(
    chosen: Mapping[str, Part], seed: int, seconds: float, tallies: list[Tally]
) -> AssertionError | None:
    """Run the parts in turn; returns the failure that ended it, if one did."""
    deadline = time.monotonic() + seconds
    length = min(_TURN, seconds / len(chosen))
    for name, turn in _turns(chosen, seed):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            tally = chosen[name](turn, min(left, length))
        except AssertionError as failure:
            return failure
        tallies.append(tally)
        click.echo(f"{name}, seed {turn}: {tally.runs} {tally.unit}, {tally.losses} losses")
    return None


def _turns(chosen: Mapping[str, Part], seed: int) -> Iterator[tuple[str, int]]:
    for number in count(seed):
        for name in chosen:
            yield name, number


def table(tallies: Sequence[Tally]) -> str:
    """Return the sums of each part as lines with columns."""
    by_part: dict[str, list[Tally]] = {}
    for tally in tallies:
        by_part.setdefault(tally.part, []).append(tally)
    rows = [_HEADS, *(_row(part, of_part) for part, of_part in by_part.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(part: str, tallies: Sequence[Tally]) -> tuple[str, ...]:
    return (
        part,
        str(sum(tally.runs for tally in tallies)),
        tallies[0].unit,
        str(sum(tally.duplicates for tally in tallies)),
        str(sum(tally.doubts for tally in tallies)),
        str(sum(tally.losses for tally in tallies)),
        tallies[-1].notes,
    )


if __name__ == "__main__":
    main()
