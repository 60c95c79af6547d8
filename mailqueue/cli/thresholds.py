"""What is measured for monitoring, and from where on it is a warning or critical."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import click

from mailqueue.cli.output import duration


class Level(IntEnum):
    """How things are, as the exit statuses of monitoring plugins (Nagios and its heirs)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value is written: on the command line, for people, and in performance data."""

    parse: Callable[[str], float]
    say: Callable[[float], str]
    uom: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured. ``is_floor``: less is worse, as with free space."""

    name: str
    unit: Unit
    about: str
    warn: float
    crit: float
    is_floor: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a value is a warning, and critical; None: never."""

    warn: float | None
    crit: float | None

    def level(self, value: float | None, measure: Measure) -> Level:
        """Return how bad ``value`` is; None is worse than any."""
        if self._is_beyond(self.crit, value, measure):
            return Level.CRITICAL
        if self._is_beyond(self.warn, value, measure):
            return Level.WARNING
        return Level.OK

    @staticmethod
    def _is_beyond(limit: float | None, value: float | None, measure: Measure) -> bool:
        if limit is None:
            return False
        if value is None:
            return True
        return value < limit if measure.is_floor else value >= limit


def _duration(text: str) -> float:
    from mailqueue.config.values import parse_duration

    return parse_duration(text)


def _size(text: str) -> float:
    from mailqueue.config.values import parse_size

    return float(parse_size(text))


def _percent(text: str) -> float:
    return _number(text.removesuffix("%"))


def _number(text: str) -> float:
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ValueError("is not a number")
    return float(text)


def said_size(octets: float) -> str:
    """Return a size in the largest binary unit that keeps it above one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} TiB"


_TIME: Final = Unit(_duration, duration, "s")
_SHARE: Final = Unit(_percent, lambda value: f"{value:.1f}%", "%")
_COUNT: Final = Unit(_number, lambda value: f"{value:.0f}", "")
_OCTETS: Final = Unit(_size, said_size, "B")
_MIB: Final = 2**20

MEASURES: Final[Mapping[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure("oldest", _TIME, "how long the oldest due mail has been due", 900, 3600),
        Measure("failed", _SHARE, "recipients that failed, of those that ended", 10, 30),
        Measure("doubt", _COUNT, "attempts in doubt, which may be sent twice", 1, 20),
        Measure("paused", _TIME, "how long a relay has been paused", 60, 900),
        Measure("heartbeat", _TIME, "since a daemon was last heard of", 60, 120),
        Measure(
            "disk", _OCTETS, "free on the outbox's disk", 512 * _MIB, 256 * _MIB, is_floor=True
        ),
        Measure("log", _OCTETS, "size of SQLite's log", 256 * _MIB, 1024 * _MIB),
    )
}


def thresholds(text: str) -> dict[str, float | None]:
    """Return ``oldest=15m,failed=off`` as values by the names of measures, None for ``off``.

    Raises `click.BadParameter`.
    """
    found: dict[str, float | None] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in MEASURES:
            raise click.BadParameter(f"{name!r} is not measured; there is {', '.join(MEASURES)}")
        try:
            found[name] = None if value == "off" else MEASURES[name].unit.parse(value)
        except ValueError as error:
            raise click.BadParameter(f"{part!r} {error}, or write {name}=off") from None
    return found


def limits(
    measure: Measure, warn: Mapping[str, float | None], crit: Mapping[str, float | None]
) -> Limits:
    """Return the limits of ``measure``: as given, else its own."""
    return Limits(warn.get(measure.name, measure.warn), crit.get(measure.name, measure.crit))


def described() -> str:
    """Return a table of what is measured, with the defaults, for the help."""
    lines = []
    for one in MEASURES.values():
        warn, crit = one.unit.say(one.warn), one.unit.say(one.crit)
        than = "below " if one.is_floor else ""
        lines.append(f"  {one.name:<9}  {than + warn:<15}  {than + crit:<15}  {one.about}")
    heading = f"  {'MEASURE':<9}  {'WARNING':<15}  {'CRITICAL':<15}  WHAT IT IS"
    return "\n".join([heading, *lines])
