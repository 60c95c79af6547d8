"""Writes deploy/mailqueue.1 from the help of the commands.

Run ``python -m docs.write_man`` in the checkout after a change to a command's help or options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mailqueue.cli.main import cli

PAGE = Path(__file__).parents[1] / "deploy" / "mailqueue.1"

_HEAD = """.\\" Written by docs/write_man.py from the help of the commands.
.TH MAILQUEUE 1 "" mailqueue "User Commands"
.SH NAME
mailqueue \\- a durable outbox for mail
.SH SYNOPSIS
.B mailqueue
.I COMMAND
.RI [ OPTIONS ]
.SH DESCRIPTION
"""


def page() -> str:
    """Return the manual page, in the man macros of troff."""
    context = click.Context(cli, info_name="mailqueue", **cli.context_settings)
    text = _HEAD + _prose(cli.help or "") + ".SH COMMANDS\n"
    text += "".join(
        _command(command, path, context) for path, command in _commands(cli, context, ())
    )
    return text + ".SH NOTES\n" + _prose(cli.epilog or "")


def _commands(
    group: click.Group, context: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, "a group knows what it lists"
        if command.hidden:
            continue
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, context, (*path, name))


def _command(command: click.Command, path: tuple[str, ...], root: click.Context) -> str:
    context = click.Context(command, root, info_name=" ".join(path))
    usage = " ".join(command.collect_usage_pieces(context))
    text = f".SS {_plain(' '.join((*path, usage)))}\n{_prose(command.help or '')}"
    for option in command.params:
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            text += f".TP\n.B {_plain(record[0])}\n{_plain(record[1])}\n"
    return text + (f".PP\n{_prose(command.epilog)}" if command.epilog else "")


def _prose(help_text: str) -> str:
    """Return paragraphs; one that begins with a backspace character keeps its lines."""
    paragraphs = [each.strip("\n") for each in help_text.strip("\n").split("\n\n")]
    return ".PP\n".join(map(_paragraph, filter(None, paragraphs)))


def _paragraph(text: str) -> str:
    if text.startswith("\b"):
        lines = text.removeprefix("\b").strip("\n")
        kept = "\n".join(map(_plain, lines.split("\n")))
        return f".nf\n{kept}\n.fi\n"
    return "\n".join(map(_plain, (line.strip() for line in text.split("\n")))) + "\n"


def _plain(text: str) -> str:
    """Return ``text`` with what troff would act on made harmless."""
    text = re.sub(r"\s*\n\s*", " ", text.replace("\\", "\\e").replace("-", "\\-"))
    return re.sub(r"^([.'])", r"\\&\1", text)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
