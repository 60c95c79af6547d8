"""Replay one history: ``python -m tests.simulation SEED`` prints what happened."""

from __future__ import annotations

import click

from tests.simulation.history import live
from tests.simulation.place import place


@click.command()
@click.argument("seed", type=int)
@click.option("--pipelining", is_flag=True, help="Let the relays offer PIPELINING.")
def main(seed: int, pipelining: bool) -> None:
    """Print the history of a seed."""
    with place() as directory:
        history = live(seed, directory, pipelining=pipelining)
    click.echo("\n".join(history.trace))
    click.echo(f"{history.days:.2f} days; {dict(sorted(history.met.items()))}")


if __name__ == "__main__":
    main()
