"""`mailqueue send`: one mail now, past the queue, with every word of the conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import config_option

if TYPE_CHECKING:
    from mailqueue.config import Config, RelaySettings


@click.command()
@config_option
@click.option("--relay", metavar="NAME", help="A configured relay; else the default one.")
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS",
    help='The envelope sender; "" is the null sender. By default From of the --file.',
)
@click.option(
    "--to",
    "recipients",
    metavar="ADDRESS",
    multiple=True,
    help="An envelope recipient; may be repeated. By default To, Cc and Bcc of the --file.",
)
@click.option("--subject", metavar="TEXT", help="The subject of a plain text.")
@click.option("--body", metavar="TEXT", help="A plain text; by default standard input.")
@click.option(
    "--file", "file", metavar="FILE", help='A whole message with its header; "-" is standard input.'
)
def send(config_file: str | None, relay: str | None, **written: Any) -> None:
    """Send one mail now, and show the conversation.

    It goes straight to the relay and never into the queue: for trying out a configuration.
    Passwords are not shown. At the end stands, for each recipient, what the queue would make of
    the answer, and the rule by which.

    Exits with 0 if the relay took responsibility for every recipient. Otherwise with 69 if it
    refuses the mail, 67 if it refuses recipients, and 75 if the queue would try again.
    """
    from mailqueue.cli.composition import Writing, compose
    from mailqueue.cli.conversation import converse
    from mailqueue.cli.verdicts import report, status
    from mailqueue.client.configured import limits_of
    from mailqueue.clock import SystemClock
    from mailqueue.config import load

    config = load(config_file).config
    settings = _chosen(config, relay)
    clock = SystemClock()
    draft = compose(Writing(**written), clock=clock, limits=limits_of(config))
    findings = asyncio.run(converse(settings, draft, clock=clock, show=click.echo))
    click.echo()
    for recipient, finding in zip(draft.envelope.recipients, findings, strict=True):
        click.echo(report(recipient, finding, relay=settings.name))
    raise click.exceptions.Exit(status(findings))


def _chosen(config: Config, name: str | None) -> RelaySettings:
    if name is None:
        return config.default_relay
    if name not in config.relays:
        known = ", ".join(config.relays)
        raise click.BadParameter(
            f"{name} is not a relay; choose one of: {known}", param_hint="'--relay'"
        )
    return config.relays[name]
