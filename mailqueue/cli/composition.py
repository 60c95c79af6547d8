"""The message of `mailqueue send`, from what the command line says."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import click

from mailqueue.cli.exits import Exit, Failure
from mailqueue.client.intake import draft
from mailqueue.client.limits import Limits
from mailqueue.client.mailbox import envelope_address
from mailqueue.client.outgoing import Outgoing
from mailqueue.clock import Clock
from mailqueue.errors import AddressError, ContentError
from mailqueue.outbox.enqueue import Draft

NULL_SENDERS = ("", "<>")
SUBJECT = "A test of mailqueue"


@dataclass(frozen=True, slots=True)
class Writing:
    """What the command line says about the message; ``file`` goes with neither text nor subject."""

    sender: str | None
    recipients: tuple[str, ...]
    subject: str | None
    body: str | None
    file: str | None


def compose(writing: Writing, *, clock: Clock, limits: Limits) -> Draft:
    """Return the message, checked and frozen as `Outbox.enqueue` would do it.

    Raises `click.UsageError` where something is missing, `Failure` for a file that cannot be
    read, and what `mailqueue.client.intake.draft` raises.
    """
    _check_addresses(writing)
    message = _plain_text(writing) if writing.file is None else _whole(writing, writing.file)
    outgoing = Outgoing(message, sender=writing.sender, recipients=writing.recipients or None)
    return draft(outgoing, clock=clock, limits=limits)


def _whole(writing: Writing, file: str) -> bytes:
    if writing.subject is not None or writing.body is not None:
        raise click.UsageError("--file brings its own subject and text: leave --subject and --body")
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", Exit.NO_INPUT) from None


def _plain_text(writing: Writing) -> EmailMessage:
    if not writing.recipients:
        raise click.UsageError("whom is it for? Give --to ADDRESS, or a message with --file")
    if writing.sender is None:
        raise click.UsageError("who sends it? Give --from ADDRESS, or a message with --file")
    if writing.sender in NULL_SENDERS:
        raise click.UsageError("the null sender leaves From empty: give a message with --file")
    message = EmailMessage()
    _put(message, "From", writing.sender, option="--from")
    _put(message, "To", ", ".join(writing.recipients), option="--to")
    subject = SUBJECT if writing.subject is None else writing.subject
    _put(message, "Subject", subject, option="--subject")
    message.set_content(_standard_input() if writing.body is None else writing.body)
    return message


def _put(message: EmailMessage, field: str, value: str, *, option: str) -> None:
    try:
        message[field] = value
    except ValueError as error:
        # A line break would begin another header field.
        raise ContentError(f"{option} {value!r} cannot stand in a header: {error}") from None


def _check_addresses(writing: Writing) -> None:
    given = [("--to", address) for address in writing.recipients]
    if writing.sender is not None and writing.sender not in NULL_SENDERS:
        given.append(("--from", writing.sender))
    for option, address in given:
        try:
            envelope_address(address)
        except AddressError as error:
            raise ContentError(f"{option} {error}") from None


def _standard_input() -> str:
    if sys.stdin.isatty():
        click.echo("The text, ended by ctrl-D on a line of its own:", err=True)
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise Failure("the text on standard input is not UTF-8", Exit.DATA) from None
