"""``python -m tests.torture --minutes 30``: every part in turn until time is up, and a table."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from types import ModuleType

import click

from tests.support.marked import replaced
from tests.torture.figures import BEGIN, END, Figures
from tests.torture.tally import Tally
from tests.torture.turns import Share, Turn, Turns

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]


@click.command()
@click.option("--minutes", type=float, default=30, show_default=True, help="In all.")
@click.option("--seed", type=int, help="Of the first turn; each turn of a part has the next one.")
@click.option("--part", "names", multiple=True, help="Only this; may be given again.")
@click.option("--record", is_flag=True, help="Write the figures into the documents.")
def main(minutes: float, seed: int | None, names: Sequence[str], record: bool) -> None:
    """Torture the queue, and say what became of the mail."""
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    chosen = _chosen(names, seed)
    if record and names:
        raise click.UsageError("figures of some parts only are not recorded")
    click.echo(f"seed {seed}, parts {', '.join(chosen)}")
    tallies: list[Tally] = []
    failed: list[Turn] = []
    for turn in Turns(chosen, seed, 60 * minutes):
        _tell(turn)
        if turn.tally is None:
            failed.append(turn)
        else:
            tallies.append(turn.tally)
    figures = Figures(seed, minutes, tallies)
    click.echo(f"\n{figures.table()}")
    if failed or figures.losses:
        _complain(failed)
        sys.exit(1)
    if record:
        _record(figures)


def parts() -> Mapping[str, ModuleType]:
    """Return every module of this folder that has a ``run``."""
    names = [found.name for found in pkgutil.iter_modules([str(_HERE)])]
    chosen = [name for name in names if not name.startswith(("_", "test_"))]
    modules = {name: importlib.import_module(f"tests.torture.{name}") for name in chosen}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def _chosen(names: Sequence[str], seed: int) -> dict[str, Share]:
    known = parts()
    if unknown := set(names) - known.keys():
        raise click.UsageError(f"no such part: {sorted(unknown)}; there are {', '.join(known)}")
    return {name: _share(known[name], seed) for name in names or known}


def _share(module: ModuleType, seed: int) -> Share:
    """Return a part; one that goes on where its last turn ended is begun here."""
    run = module.begin(seed) if hasattr(module, "begin") else module.run
    return Share(run, getattr(module, "WEIGHT", 1.0))


def _tell(turn: Turn) -> None:
    told = "FAILED" if turn.tally is None else _counted(turn.tally)
    click.echo(f"{turn.part}, seed {turn.seed}: {told}")


def _counted(tally: Tally) -> str:
    return f"{tally.runs:,} {tally.unit}, {tally.losses} losses"


def _complain(failed: Sequence[Turn]) -> None:
    for turn in failed:
        click.echo(f"\nFAILED: {turn.part}, seed {turn.seed}: {turn.failure}", err=True)
        again = f"python -m tests.torture --minutes 1 --part {turn.part} --seed {turn.seed}"
        click.echo(f"the whole turn again: {again}", err=True)


def _record(figures: Figures) -> None:
    for path, text in (
        (_ROOT / "docs" / "guarantees.md", figures.page()),
        (_ROOT / "README.md", figures.sentence()),
    ):
        path.write_text(replaced(path.read_text(), BEGIN, END, text=text))


if __name__ == "__main__":
    main()
