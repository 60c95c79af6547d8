"""A decision about many at once: counted, confirmed, carried out, and said how far it came."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from mailqueue.cli.exits import Exit, Failure, status_of
from mailqueue.cli.output import one_line
from mailqueue.cli.progress import Progress
from mailqueue.errors import OutboxError
from mailqueue.mail.lifecycle import Event

if TYPE_CHECKING:
    from mailqueue.operate import Choice, Filter, Operator, Step
    from mailqueue.outbox.lookup import Listed

SHOWN = 5
"""How many of those meant are shown before it is done."""
_DONE: Final = {
    Event.HOLD: "held",
    Event.RELEASE: "released",
    Event.CANCEL: "cancelled",
    Event.RETRY: "retried",
    Event.FAIL_BY_HAND: "failed",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a decision is to be taken."""

    reason: str
    dry_run: bool
    yes: bool
    as_json: bool


def decide(operator: Operator, event: Event, wanted: Filter, how: Manner) -> None:
    """Let ``event`` happen to all whom ``wanted`` selects, once that is confirmed.

    Raises `Failure` where nobody can be asked, or where it was ended before its end.
    """
    choice = operator.where(wanted).choose(event, reason=how.reason)
    if how.dry_run:
        _tell(event, choice, how)
        return
    if len(choice) and not how.yes:
        _confirm(event, choice)
    _report(event, len(choice), _carry_out(event, choice), how)


def _tell(event: Event, choice: Choice, how: Manner) -> None:
    if how.as_json:
        click.echo(json.dumps({"would": str(event), **_counts(choice)}))
        return
    for line in _summary(event, choice):
        click.echo(line)


def _counts(choice: Choice) -> dict[str, Any]:
    return {
        "recipients": len(choice),
        "in_doubt": choice.tally.in_doubt,
        "states": {str(state): count for state, count in choice.tally.by_state.items()},
        "relays": choice.tally.by_relay,
        "first": [
            {
                "message": one.message,
                "recipient": one.recipient.address,
                "state": str(one.recipient.state),
                "relay": one.recipient.relay,
            }
            for one in choice.first(SHOWN)
        ],
    }


def _summary(event: Event, choice: Choice) -> Iterator[str]:
    yield f"{_people(len(choice))} would be {_DONE[event]}{':' if len(choice) else ''}"
    for (state, relay), count in sorted(choice.tally.by_state_and_relay.items()):
        yield f"{count:>9} {state:<9} relay {one_line(relay)}"
    first = choice.first(SHOWN)
    if first:
        yield "the first of them:" if len(choice) > len(first) else "these are:"
    yield from map(_line, first)
    if choice.tally.in_doubt and event in (Event.RELEASE, Event.RETRY):
        yield f"{_people(choice.tally.in_doubt)} of them, held in doubt, may be sent to twice"


def _line(listed: Listed) -> str:
    last = listed.recipient.last
    said = "" if last is None else " ".join(filter(None, (str(last.code or ""), last.text)))
    cells = (str(listed.message).rjust(9), listed.recipient.address, said)
    return one_line(" ".join(cells)).rstrip()


def _people(count: int) -> str:
    return "1 recipient" if count == 1 else f"{count} recipients"


def _confirm(event: Event, choice: Choice) -> None:
    if not sys.stdin.isatty():
        raise Failure(
            f"{_people(len(choice))} would be {_DONE[event]}; nobody is here to confirm it: say "
            "--yes to do it, or --dry-run to see who they are",
            Exit.USAGE,
        )
    for line in _summary(event, choice):
        click.echo(line, err=True)
    click.confirm("Do it?", abort=True, err=True)


def _carry_out(event: Event, choice: Choice) -> Step:
    """Do it, and return how far it came; raises `Failure` if that is not to the end."""
    from mailqueue.operate import Step

    last = Step(0, 0)
    try:
        with _asked_to_stop() as asked, Progress(len(choice), _DONE[event]) as progress:
            for last in choice.steps():
                progress.show(last.done)
                if asked:
                    break
    except OutboxError as error:
        raise Failure(f"{error}\n{_how_far(event, choice, last)}", status_of(error)) from None
    if last.done < len(choice):
        raise Failure(f"interrupted: {_how_far(event, choice, last)}", Exit.INTERRUPTED)
    return last


def _how_far(event: Event, choice: Choice, last: Step) -> str:
    left = _people(len(choice) - last.done)
    return f"{last.moved} were {_DONE[event]}, and {left} are as before; say it again to go on"


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Give a list that holds something once ctrl-C was pressed; a second one ends at once."""
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _report(event: Event, chosen: int, last: Step, how: Manner) -> None:
    left_alone = chosen - last.moved
    if how.as_json:
        counts = {"recipients": chosen, "moved": last.moved, "left_alone": left_alone}
        click.echo(json.dumps({"did": str(event), **counts}))
        return
    if not chosen:
        click.echo(f"nobody is to be {_DONE[event]}")
        return
    rest = f"; {left_alone} left alone, because they had changed meanwhile" if left_alone else ""
    click.echo(f"{_people(last.moved)} {_DONE[event]}{rest}")
