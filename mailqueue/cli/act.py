"""`mailqueue retry`, `hold`, `release` and `cancel`: what a person decides about a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.output import one_line

if TYPE_CHECKING:
    from mailqueue.outbox.acts import Act


def _takes_message(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--reason", metavar="TEXT", default="", help="Why, for the record."),
        click.option("--recipient", metavar="ADDRESS", help="Only this one; by default all."),
        click.argument("message", metavar="ID"),
        takes_outbox,
    ):
        command = decorate(command)
    return command


@click.command()
@_takes_message
def retry(access: Access, **wanted: Any) -> None:
    """Start again, whatever has become of it.

    Tries at once, with a new lifetime, also recipients that failed, expired or were cancelled.
    Those that were sent to, or are being sent to, are left alone. Exits with 69 if all are.
    """
    _decide("retry", access, **wanted)


@click.command()
@_takes_message
def hold(access: Access, **wanted: Any) -> None:
    """Keep a message from being sent.

    Until `mailqueue release`; recipients that do not wait any more are left alone. Exits with 69
    if all are.
    """
    _decide("hold", access, **wanted)


@click.command()
@_takes_message
def release(access: Access, **wanted: Any) -> None:
    """Let a held message go on.

    The time it was held is not taken off its lifetime. One that is held by doubt may be sent
    twice then. Exits with 69 if no recipient is held.
    """
    _decide("release", access, **wanted)


@click.command()
@_takes_message
def cancel(access: Access, **wanted: Any) -> None:
    """Withdraw a message that is not sent yet.

    Tells for each recipient whether it was still possible. Exits with 69 if it was too late for
    all of them.
    """
    _decide("cancel", access, **wanted)


def _decide(verb: str, access: Access, *, message: str, recipient: str | None, reason: str) -> None:
    from mailqueue.cli.selection import message_number
    from mailqueue.client.mailbox import envelope_address
    from mailqueue.errors import UnknownMessageError
    from mailqueue.operate import Operator

    # As it was stored: the domain in small letters and A-labels.
    recipient = recipient and envelope_address(recipient)
    with access.reading() as connection:
        number = message_number(connection, message)
    with Operator(access.url, busy_timeout=access.busy_timeout) as operator:
        try:
            acts = getattr(operator, verb)(number, recipient=recipient, reason=reason)
        except UnknownMessageError:
            _miss(access, number, recipient)
    for line in told(acts):
        click.echo(line)
    if all(act.after is None for act in acts):
        raise click.exceptions.Exit(Exit.UNAVAILABLE)


def _miss(access: Access, message: int, recipient: str | None) -> NoReturn:
    """Say what is not there: the message, or only this recipient of it."""
    from mailqueue.outbox.lookup import status

    with access.reading() as connection:
        known = ", ".join(one.address for one in status(connection, message).recipients)
    raise Failure(f"message {message} is not for {recipient}; it is for: {known}", Exit.NO_INPUT)


def told(acts: Iterable[Act]) -> Iterator[str]:
    """Yield a line for each recipient: what was done, or why nothing was."""
    for act in acts:
        done = f"left alone: {act.refused}" if act.after is None else f"{act.before} to {act.after}"
        yield f"{one_line(act.address)}: {done}"
