"""Schedules as timetables that a person can judge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from mailqueue.cli.grid import Grid, show, show_json
from mailqueue.cli.output import duration
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.timetable import Step, timetable

if TYPE_CHECKING:
    from mailqueue.config import Config

_HEADINGS: Final = ("Attempt", "After a pause of", "Since the first")
_MOST_JITTER: Final = 1.0
_ALIKE: Final = 4
"""More attempts in a row than this, with the same pause, are shown as the first and the last."""


def show_schedules(config: Config, relay: str | None, *, as_json: bool) -> None:
    """Print the timetable of each schedule in ``config``, or of the one for ``relay``.

    Raises `click.BadParameter` where no relay has this name.
    """
    if relay is not None and relay not in config.relays:
        known = ", ".join(config.relays)
        raise click.BadParameter(
            f"{relay} is not a relay; choose one of: {known}", param_hint="'--relay'"
        )
    for number, (policy, names) in enumerate(_schedules(config, relay)):
        if as_json:
            show_json(_objects(policy, names))
            continue
        if number:
            click.echo()
        click.echo(f"mail for {', '.join(names)}:")
        show(Grid(_HEADINGS, [*_rows(policy)], numbers=frozenset(_HEADINGS)))
        click.echo(f"given up after {duration(policy.give_up)}; no attempt comes later")


def _schedules(config: Config, relay: str | None) -> list[tuple[Backoff, list[str]]]:
    """Return the schedules and whose they are: relays that share one stand together."""
    found: dict[Backoff, list[str]] = {}
    for name in [relay] if relay else config.relays:
        policy = Backoff(**config.backoff_for(name).model_dump())
        found.setdefault(policy, []).append(name)
    return [*found.items()]


def _rows(policy: Backoff) -> Iterator[tuple[str, str, str]]:
    longest = timetable(policy)
    soonest = {step.attempt: step for step in timetable(policy, jitter=_MOST_JITTER)}
    for _, alike in groupby(longest, key=lambda step: round(step.pause)):
        steps = [*alike]
        if len(steps) > _ALIKE:
            yield _row(steps[0], soonest)
            yield ("...", f"{len(steps) - 2} more alike", "")
            steps = steps[-1:]
        yield from (_row(step, soonest) for step in steps)


def _row(step: Step, soonest: dict[int, Step]) -> tuple[str, str, str]:
    early = soonest.get(step.attempt, step)
    number = f"{step.attempt} (the last)" if step.is_last else str(step.attempt)
    if step.attempt == 1:
        return number, "", "at once"
    pauses = (early.pause, step.pause)
    return number, _between(min(pauses), max(pauses)), _between(early.at, step.at)


def _between(least: float, most: float) -> str:
    return (
        duration(most) if round(least) == round(most) else f"{duration(least)} to {duration(most)}"
    )


def _objects(policy: Backoff, names: list[str]) -> Iterator[dict[str, Any]]:
    soonest = {step.attempt: step for step in timetable(policy, jitter=_MOST_JITTER)}
    for step in timetable(policy):
        early = soonest.get(step.attempt, step)
        yield {
            "relays": names,
            "attempt": step.attempt,
            "pause_seconds": round(step.pause, 3),
            "least_pause_seconds": round(min(early.pause, step.pause), 3),
            "at_seconds": round(step.at, 3),
            "least_at_seconds": round(early.at, 3),
            "is_last": step.is_last,
            "give_up_seconds": policy.give_up,
        }
