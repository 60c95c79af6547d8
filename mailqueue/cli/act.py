"""`mailqueue retry`, `hold`, `release`, `cancel` and `fail`: what a person decides about mail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.deciding import SENDING, Manner
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.filters import EPILOG, STATE, made, takes_filter
from mailqueue.cli.output import one_line
from mailqueue.mail.lifecycle import Event

if TYPE_CHECKING:
    from mailqueue.cli.waiting import Surroundings
    from mailqueue.operate import Operator
    from mailqueue.outbox.acts import Act

_ALL = click.option("--all", "everybody", is_flag=True, help="Everybody to whom it can happen.")


def _takes_mail(*more: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options: tuple[Callable[..., Any], ...] = (
            click.option("--json", "as_json", is_flag=True, help="JSON Lines instead of text."),
            click.option("--yes", is_flag=True, help="Do not ask."),
            click.option("--dry-run", is_flag=True, help="Only count, and show the first few."),
            click.option("--reason", metavar="TEXT", default="", help="Why, for the record."),
            *more,
            takes_filter(STATE),
            click.argument("ids", metavar="[ID]...", nargs=-1),
            takes_outbox,
        )
        for option in options:
            command = option(command)
        return command

    return decorate


@click.command(epilog=EPILOG)
@_takes_mail(_ALL)
def retry(access: Access, **wanted: Any) -> None:
    """Start again, whatever has become of it.

    Tries at once, with a new lifetime, also recipients that failed, expired or were cancelled:
    those of the messages named, or of a --state that is named. By another filter only those that
    wait. Who was sent to, or is being sent to, is left alone. One with an attempt in doubt may be
    sent to twice, and how many those are is said. Exits with 69 if no recipient of the messages
    named could be retried.
    """
    _decide(Event.RETRY, access, **wanted)


@click.command(epilog=EPILOG)
@_takes_mail(_ALL)
def hold(access: Access, **wanted: Any) -> None:
    """Keep mail from being sent.

    Until `mailqueue release`; recipients that do not wait any more are left alone. Exits with 69
    if all of the messages named are.
    """
    _decide(Event.HOLD, access, **wanted)


@click.command(epilog=EPILOG)
@_takes_mail(_ALL)
def release(access: Access, **wanted: Any) -> None:
    """Let held mail go on.

    The time it was held is not taken off its lifetime. One that is held by doubt may be sent
    twice then. Exits with 69 if no recipient of the messages named is held.
    """
    _decide(Event.RELEASE, access, **wanted)


@click.command(epilog=EPILOG)
@_takes_mail()
def cancel(access: Access, **wanted: Any) -> None:
    """Withdraw mail that is not sent yet.

    Tells for each recipient whether it was still possible. Exits with 69 if it was too late for
    all of the messages named.
    """
    _decide(Event.CANCEL, access, **wanted)


@click.command(epilog=EPILOG)
@_takes_mail()
def fail(access: Access, **wanted: Any) -> None:
    """Give up mail that waits, as failed for good.

    For recipients that wait or are held, also in doubt; no relay has refused them, so
    `mailqueue_failures` names who gave them up, with the reason. Exits with 69 if no recipient of
    the messages named could be given up.
    """
    _decide(Event.FAIL_BY_HAND, access, **wanted)


def _decide(
    event: Event,
    access: Access,
    *,
    ids: tuple[str, ...],
    wanted: dict[str, Any],
    everybody: bool = False,
    **manner: Any,
) -> None:
    from mailqueue.cli.deciding import decide
    from mailqueue.outbox.filter import Filter

    _check_meaning(ids, wanted, everybody=everybody, may_be_all=event in _HARMLESS)
    how = Manner(**manner)
    numbers = _numbers(access, ids)
    with access.operator() as operator:
        if not ids:
            chosen = Filter() if everybody else made(wanted)
            decide(operator, event, chosen, how, around=_around(access))
        elif how.dry_run:
            chosen = made({**wanted, "message": numbers})
            decide(operator, event, chosen, how, around=_around(access))
        else:
            acts = _acts(operator, event, access=access, numbers=numbers, wanted=wanted, how=how)
            _report(event, acts, how)


def _around(access: Access) -> Surroundings:
    from mailqueue.cli.around import surroundings

    with access.reading() as connection:
        return surroundings(connection, access)


_HARMLESS = (Event.RETRY, Event.HOLD, Event.RELEASE)
"""What can be undone, and so may be asked for everybody at once."""


def _check_meaning(
    ids: Sequence[str], wanted: dict[str, Any], *, everybody: bool, may_be_all: bool
) -> None:
    """Refuse what does not say which mail is meant, or says it twice."""
    if not (ids or wanted or everybody):
        or_all = ", or --all" if may_be_all else ""
        raise click.UsageError(
            f"say which mail is meant: the number or Message-ID of messages, or a filter{or_all}"
        )
    if ids and (everybody or wanted.keys() - {"recipient"}):
        raise click.UsageError("a message that is named takes no other filter than --recipient")
    if everybody and wanted:
        raise click.UsageError("--all takes no filter")


def _numbers(access: Access, ids: Sequence[str]) -> list[int]:
    from mailqueue.cli.selection import message_number
    from mailqueue.outbox.lookup import status

    if not ids:
        return []
    with access.reading() as connection:
        # All of them before the first is touched: a misprint among many changes nothing.
        return [status(connection, message_number(connection, one)).id for one in ids]


def _acts(
    operator: Operator,
    event: Event,
    *,
    access: Access,
    numbers: Iterable[int],
    wanted: dict[str, Any],
    how: Manner,
) -> list[Act]:
    from mailqueue.errors import UnknownMessageError

    acts: list[Act] = []
    for number in numbers:
        for recipient in wanted.get("recipient", (None,)):
            try:
                acts += operator.decide(event, number, recipient=recipient, reason=how.reason)
            except UnknownMessageError:
                _miss(access, number, recipient)
    return acts


def _miss(access: Access, message: int, recipient: str | None) -> NoReturn:
    """Say what is not there: the message, or only this recipient of it."""
    from mailqueue.outbox.lookup import status

    with access.reading() as connection:
        known = ", ".join(one.address for one in status(connection, message).recipients)
    raise Failure(f"message {message} is not for {recipient}; it is for: {known}", Exit.NO_INPUT)


def _report(event: Event, acts: Sequence[Act], how: Manner) -> None:
    for line in _json(acts) if how.as_json else told(acts, is_sending=event in SENDING):
        click.echo(line)
    if all(act.after is None for act in acts):
        raise click.exceptions.Exit(Exit.UNAVAILABLE)


def told(acts: Iterable[Act], *, is_sending: bool = False) -> Iterator[str]:
    """Yield a line for each recipient: what was done, or why nothing was.

    ``is_sending``: whether it lets mail go, of which some may have been sent already.
    """
    for act in acts:
        done = f"left alone: {act.refused}" if act.after is None else f"{act.before} to {act.after}"
        is_doubtful = is_sending and act.after is not None and act.doubts
        doubt = "; an attempt is in doubt, so it may be sent to twice" if is_doubtful else ""
        yield f"{one_line(act.address)}: {done}{doubt}"


def _json(acts: Iterable[Act]) -> Iterator[str]:
    for act in acts:
        yield json.dumps(
            {
                "message": act.message,
                "recipient": act.address,
                "from": str(act.before),
                "to": None if act.after is None else str(act.after),
                "refused": act.refused or None,
                "doubts": act.doubts,
            }
        )
