"""`mailqueue explain`: what a reply means, or what holds a message and when it will go."""

from __future__ import annotations

import re
from typing import Final

import click

from mailqueue.cli.access import Access, config_option, database_option, find
from mailqueue.cli.grid import json_option, show_json

_CODE: Final = re.compile(r"[2-5][0-9]{2}")
_REPLY_LINE: Final = re.compile(r"[0-9]{3}[ -].*", re.DOTALL)
_ENHANCED: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


@click.command()
@config_option
@database_option
@click.argument("words", nargs=-1, required=True, metavar="CODE|REPLY|ID")
@click.option(
    "--message", "is_message", is_flag=True, help="It is an ID, also if it looks like a code."
)
@json_option
def explain(
    config_file: str | None,
    database: str | None,
    words: tuple[str, ...],
    is_message: bool,
    as_json: bool,
) -> None:
    """Explain a reply, or what holds a message.

    A reply is its code (550), its enhanced code (5.7.1), or all that the relay said
    ("550 5.7.1 not allowed"): what it means, what the queue makes of it at each stage, and what
    can be done about it. No outbox is needed for that.

    A message is named by its number or its Message-ID: for each recipient, what holds it, in the
    order in which the daemon looks, when it will go at the earliest, and when it is given up. A
    number from 200 to 599 is taken for a code, unless --message says otherwise.
    """
    what = " ".join(words).strip()
    if not is_message and (_CODE.fullmatch(what) or _REPLY_LINE.fullmatch(what)):
        _explain_reply(what, as_json=as_json)
    elif not is_message and _ENHANCED.fullmatch(what):
        _explain_enhanced(what, as_json=as_json)
    else:
        _explain_message(find(config_file, database), what, as_json=as_json)


def _explain_reply(said: str, *, as_json: bool) -> None:
    from mailqueue.cli.meaning import as_object, read_reply, tell

    try:
        reply = read_reply(said)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="REPLY") from None
    if as_json:
        show_json([as_object(reply)])
    else:
        click.echo("\n".join(tell(reply)))


def _explain_enhanced(code: str, *, as_json: bool) -> None:
    from mailqueue.cli.meaning import enhanced_object, tell_enhanced

    if as_json:
        show_json([enhanced_object(code)])
    else:
        click.echo("\n".join(tell_enhanced(code)))


def _explain_message(access: Access, named: str, *, as_json: bool) -> None:
    from mailqueue.cli.held import as_object, look, tell

    held = look(access, named)
    if as_json:
        show_json(as_object(one, held) for one in held.recipients)
    else:
        click.echo("\n".join(tell(held)))
