"""`mailqueue demo`: the real daemon against relays that misbehave, judged by the promises."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import click

from mailqueue.cli.exits import Exit, Failure


@click.command()
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Leave the outbox, the configuration and the logs there, in a new directory.",
)
def demo(keep: Path | None) -> None:
    """Watch a queue at work, against relays that misbehave.

    Sends a few dozen mails with the real daemon to scripted relays on this machine, which
    refuse, put off, lose replies and want passwords; kills one daemon, stalls another, and
    then tells from the outbox and from what the relays saw whether each promise was kept.
    Takes about 15 seconds. Exits with 1 if a promise was broken, and with 70 if
    something that must come about did not.
    """
    if keep is not None:
        _make(keep)
        _demonstrate(keep)
        click.echo(f"\nEverything is in {keep}.")
        return
    with tempfile.TemporaryDirectory(prefix="mailqueue-demo-") as directory:
        _demonstrate(Path(directory))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        text = f"{directory} cannot be made: {error.strerror}; name one that does not exist yet"
        raise Failure(text, Exit.CANNOT_CREATE) from None


def _demonstrate(directory: Path) -> None:
    from mailqueue.cli.demo.demonstration import demonstrate
    from mailqueue.cli.demo.lookout import StuckError
    from mailqueue.cli.demo.promise import Standing
    from mailqueue.cli.demo.promises import PROMISES
    from mailqueue.cli.demo.report import open_console, print_report

    console = open_console()
    try:
        aftermath = asyncio.run(demonstrate(directory.resolve(), console))
    except StuckError as error:
        raise Failure(str(error), Exit.SOFTWARE) from None
    accounts = [promise.account(aftermath) for promise in PROMISES]
    print_report(console, aftermath, accounts)
    if any(account.standing is Standing.BROKEN for account in accounts):
        raise click.exceptions.Exit(1)
