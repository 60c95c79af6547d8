"""`mailqueue check`: whether all is well, for monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from mailqueue.cli.access import Access, config_option, database_option, find
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.grid import json_option, show_json
from mailqueue.cli.output import one_line
from mailqueue.cli.thresholds import (
    MEASURES,
    Level,
    Limits,
    Measure,
    described,
    limits,
    thresholds,
)

_Given = Mapping[str, float | None]

_EPILOG = f"""\b
What is measured, and the thresholds unless told otherwise:
{described()}

\b
--warn oldest=5m,failed=5% --crit oldest=30m,doubt=off sets some of them anew. The floor of
the disk is that of the configuration ([limits] free_disk), if there is one.

\b
Exit status: 0 all well, 1 warning, 2 critical, 3 it cannot be told."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One measure with its value, its limits and how bad that is."""

    measure: Measure
    limits: Limits
    level: Level
    value: float | None
    text: str
    see: str


@click.command(epilog=_EPILOG)
@config_option
@database_option
@click.option(
    "--warn",
    type=thresholds,
    default="",
    metavar="MEASURE=VALUE,...",
    help="From where on it is a warning.",
)
@click.option(
    "--crit",
    type=thresholds,
    default="",
    metavar="MEASURE=VALUE,...",
    help="From where on it is critical.",
)
@click.option(
    "--window",
    type=DURATION,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="What failures and doubts are counted over.",
)
@json_option
def check(config_file: str | None, database: str | None, *, as_json: bool, **wanted: Any) -> None:
    """Say whether all is well, for monitoring.

    Speaks as Nagios and its heirs expect: one line with performance data, then one for each
    measure with the command that tells more.
    """
    from mailqueue.errors import MailqueueError

    try:
        judged = _judged(find(config_file, database), **wanted)
    except (MailqueueError, OSError) as error:
        _tell_unknown(str(error), as_json=as_json)
        raise click.exceptions.Exit(Level.UNKNOWN) from None
    if as_json:
        show_json(map(_object, judged))
    else:
        click.echo("\n".join(map(one_line, _lines(judged))))
    raise click.exceptions.Exit(max(one.level for one in judged))


def _judged(access: Access, *, warn: _Given, crit: _Given, window: float) -> list[Judged]:
    from mailqueue.cli.measures import readings
    from mailqueue.outbox.moment import present

    found = []
    with access.reading() as connection:
        now = present(connection)
        for reading in readings(connection, access, now=now, window=window):
            measure = _of(reading.measure, access)
            bounds = limits(measure, warn, crit)
            level = bounds.level(reading.value, measure)
            found.append(Judged(measure, bounds, level, reading.value, reading.text, reading.see))
    return found


def _of(name: str, access: Access) -> Measure:
    measure = MEASURES[name]
    if name != "disk" or access.config is None:
        return measure
    floor = access.config.limits.free_disk
    return replace(measure, warn=2 * floor, crit=floor)


def _lines(judged: list[Judged]) -> list[str]:
    worst = max(one.level for one in judged)
    troubles = [one.text for one in judged if one.level is not Level.OK]
    head = "; ".join(troubles) or f"{len(judged)} measures, all well"
    # What stands behind the bar is read by programs.
    first = f"MAILQUEUE {worst.name}: {head.replace('|', '/')} | {' '.join(map(_perf, judged))}"
    return [first, *(_line(one) for one in judged)]


def _line(one: Judged) -> str:
    said = f"{one.level.name.lower():<8} {one.measure.name}: {one.text.replace('|', '/')}"
    if one.level is Level.OK:
        return said
    than = "below" if one.measure.is_floor else "from"
    bounds = ", ".join(
        f"{word} {than} {one.measure.unit.say(bound)}"
        for word, bound in (("warning", one.limits.warn), ("critical", one.limits.crit))
        if bound is not None
    )
    return f"{said} ({bounds}); see `mailqueue {one.see}`"


def _perf(one: Judged) -> str:
    """Return performance data: name=value, then the limits and the least that it can be."""
    value = "U" if one.value is None else f"{_digits(one.value)}{one.measure.unit.uom}"
    colon = ":" if one.measure.is_floor else ""
    bounds = (one.limits.warn, one.limits.crit)
    warn, crit = ("" if bound is None else f"{_digits(bound)}{colon}" for bound in bounds)
    return f"{one.measure.name}={value};{warn};{crit};0"


def _digits(value: float) -> str:
    # No exponent: not every reader of performance data knows them.
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _object(one: Judged) -> dict[str, Any]:
    return {
        "measure": one.measure.name,
        "level": one.level.name.lower(),
        "value": one.value,
        "unit": one.measure.unit.uom,
        "warn": one.limits.warn,
        "crit": one.limits.crit,
        "text": one.text,
        "see": f"mailqueue {one.see}",
    }


def _tell_unknown(why: str, *, as_json: bool) -> None:
    if as_json:
        show_json([{"measure": None, "level": "unknown", "text": why}])
    else:
        click.echo(f"MAILQUEUE UNKNOWN: {one_line(why).replace('|', '/')}")
