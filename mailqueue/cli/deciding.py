"""A decision about many at once: counted, confirmed, carried out, and said how far it came."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
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
    from mailqueue.cli.waiting import Surroundings
    from mailqueue.mail.lifecycle import State
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
SENDING: Final = (Event.RELEASE, Event.RETRY)
"""What lets mail be sent that would not be, or not yet."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a decision is to be taken."""

    reason: str
    dry_run: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom a decision is about, and the relays that they are for."""

    event: Event
    choice: Choice
    around: Surroundings

    @property
    def by_state_and_relay(self) -> Counter[tuple[State, str]]:
        """How many in each state for each relay, by the name that the log says too."""
        found: Counter[tuple[State, str]] = Counter()
        for (state, name), count in self.choice.tally.by_state_and_relay.items():
            found[state, self.around.relay_name(name)] += count
        return found

    @property
    def may_be_doubled(self) -> int:
        """How many it lets go that may have been sent to already."""
        return self.choice.tally.in_doubt if self.event in SENDING else 0


def decide(
    operator: Operator, event: Event, wanted: Filter, how: Manner, *, around: Surroundings
) -> None:
    """Let ``event`` happen to all whom ``wanted`` selects, once that is confirmed.

    Raises `Failure` where nobody can be asked, or where it was ended before its end.
    """
    choice = operator.where(wanted).choose(event, reason=how.reason)
    meant = Meant(event, choice, around)
    if how.dry_run:
        _tell(meant, how)
        return
    if len(choice) and not how.yes:
        _confirm(meant)
    _report(meant, _carry_out(event, choice), how)


def _tell(meant: Meant, how: Manner) -> None:
    if how.as_json:
        click.echo(json.dumps({"would": meant.event.verb, **_counts(meant)}))
        return
    for line in _summary(meant):
        click.echo(line)


def _counts(meant: Meant) -> dict[str, Any]:
    choice = meant.choice
    relays: Counter[str] = Counter()
    for (_, relay), count in sorted(meant.by_state_and_relay.items()):
        relays[relay] += count
    return {
        "recipients": len(choice),
        "in_doubt": choice.tally.in_doubt,
        "states": {str(state): count for state, count in choice.tally.by_state.items()},
        "relays": dict(sorted(relays.items())),
        "first": [
            {
                "message": one.message,
                "recipient": one.recipient.address,
                "state": str(one.recipient.state),
                "relay": meant.around.relay_name(one.recipient.relay),
            }
            for one in choice.first(SHOWN)
        ],
    }


def _summary(meant: Meant) -> Iterator[str]:
    event, choice = meant.event, meant.choice
    yield f"{_people(len(choice))} would be {_DONE[event]}{':' if len(choice) else ''}"
    for (state, relay), count in sorted(meant.by_state_and_relay.items()):
        yield f"{count:>9} {state:<9} relay {one_line(relay)}"
    first = choice.first(SHOWN)
    if first:
        yield "the first of them:" if len(choice) > len(first) else "these are:"
    yield from map(_line, first)
    if meant.may_be_doubled:
        yield doubled(meant.may_be_doubled)


def _line(listed: Listed) -> str:
    last = listed.recipient.last
    said = "" if last is None else " ".join(filter(None, (str(last.code or ""), last.text)))
    cells = (str(listed.message).rjust(9), listed.recipient.address, said)
    return one_line(" ".join(cells)).rstrip()


def doubled(count: int) -> str:
    """Say of so many that they may have been sent to before."""
    whom = "1 of them has" if count == 1 else f"{count} of them have"
    return f"{whom} an attempt in doubt on record, and may be sent to twice"


def _people(count: int) -> str:
    return "1 recipient" if count == 1 else f"{count} recipients"


def _confirm(meant: Meant) -> None:
    if not sys.stdin.isatty():
        raise Failure(
            f"{_people(len(meant.choice))} would be {_DONE[meant.event]}; nobody is here to "
            "confirm it: say --yes to do it, or --dry-run to see who they are",
            Exit.USAGE,
        )
    for line in _summary(meant):
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


def _report(meant: Meant, last: Step, how: Manner) -> None:
    chosen, done = len(meant.choice), _DONE[meant.event]
    left_alone = chosen - last.moved
    if how.as_json:
        counts = {"recipients": chosen, "moved": last.moved, "left_alone": left_alone}
        doubts = {"in_doubt": meant.choice.tally.in_doubt}
        click.echo(json.dumps({"did": meant.event.verb, **counts, **doubts}))
        return
    if not chosen:
        click.echo(f"nobody is to be {done}")
        return
    rest = f"; {left_alone} left alone, because they had changed meanwhile" if left_alone else ""
    click.echo(f"{_people(last.moved)} {done}{rest}")
    if meant.may_be_doubled:
        click.echo(doubled(meant.may_be_doubled))
