"""`mailqueue config`: whether the configuration can be used, and what is in force."""

from __future__ import annotations

import click

from mailqueue.cli.access import config_option
from mailqueue.cli.grid import json_option
from mailqueue.cli.output import printable


@click.group()
def config() -> None:
    """Check, show or begin the configuration."""


@config.command()
@config_option
def check(config_file: str | None) -> None:
    """Check it as `run` does, and say where it comes from.

    Exits with 78 if it cannot be used, after naming everything that is wrong.
    """
    from mailqueue.config import load

    loaded = load(config_file)
    click.echo(printable(f"{loaded.source}: in order"))
    for warning in loaded.warnings:
        click.echo(f"warning: {printable(warning)}")


@config.command()
@config_option
def show(config_file: str | None) -> None:
    """Print everything that is in force.

    Defaults too, as TOML; secrets as asterisks.
    """
    from mailqueue.config import describe, load

    loaded = load(config_file, with_secrets=False)
    click.echo(f"# {printable(loaded.source)}\n\n{printable(describe(loaded.config))}", nl=False)


@config.command()
def example() -> None:
    """Print a configuration with every key, to begin with."""
    from mailqueue.cli import shipped

    click.echo(shipped.example(), nl=False)


@config.command()
@config_option
@click.option("--relay", metavar="NAME", help="Only the schedule of this relay's mail.")
@json_option
def backoff(config_file: str | None, relay: str | None, as_json: bool) -> None:
    """Show when mail is tried again, as a timetable.

    For a message that is deferred each time: each attempt, the pause before it and how long after
    the first it comes, as long as the longest and the shortest that chance allows.
    """
    from mailqueue.cli.timetable import show_schedules
    from mailqueue.config import load

    show_schedules(load(config_file, with_secrets=False).config, relay, as_json=as_json)
