"""`mailqueue completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_MAILQUEUE_COMPLETE"


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete our commands.

    For bash: mailqueue completion bash > /etc/bash_completion.d/mailqueue
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells offered"
    click.echo(kind(ctx.find_root().command, {}, "mailqueue", VARIABLE).source())
