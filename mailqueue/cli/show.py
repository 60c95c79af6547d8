"""`mailqueue show`: the whole story of one message."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.output import printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mailqueue.outbox.story import Story


@click.command()
@takes_outbox
@click.argument("message", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--body", is_flag=True, help="Print the stored content and nothing else.")
def show(access: Access, message: str, as_json: bool, body: bool) -> None:
    """Tell the whole story of one message.

    ID is its number, or its Message-ID. For each recipient: how it stands, what it waits for
    and until when, every attempt with the command, the reply and the rule that decided, and
    what operators did. --json has the names as the tables have them, such as "default" for
    whichever relay is the default one.

    With --body, a pipe gets the bytes exactly as they go on the wire, and a terminal a
    printable form of them.
    """
    if body:
        _show_body(access, message)
        return
    from mailqueue.cli.around import surroundings
    from mailqueue.cli.selection import message_number
    from mailqueue.outbox.story import story

    with access.reading() as connection:
        told = story(connection, message_number(connection, message))
        around = surroundings(connection, access)
    if as_json:
        click.echo(_as_json(told))
        return
    from mailqueue.cli.story import tell

    click.echo(tell(told, around))


def _as_json(told: Story) -> str:
    import json

    from mailqueue.cli.story_json import as_object

    return json.dumps(as_object(told))


def _show_body(access: Access, message: str) -> None:
    with access.reading() as connection:
        raw = _content(connection, message)
    if sys.stdout.isatty():
        click.echo(printable(raw.decode("utf-8", "replace").replace("\r\n", "\n")), nl=False)
    else:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()


def _content(connection: Connection, message: str) -> bytes:
    from mailqueue.cli.selection import message_number
    from mailqueue.outbox.lookup import content, status

    number = message_number(connection, message)
    status(connection, number)
    raw = content(connection, number)
    if raw is None:
        raise Failure(
            f"the content of message {number} has been pruned; its story is still there",
            Exit.NO_INPUT,
        )
    return raw
