"""What is to be reached: each line of the table, what stands beside it, and its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.figures import Figures, Key, Spread
from benchmarks.measured.delivery import DAEMON, POSTFIX, TUNED
from benchmarks.measured.drain import TWO
from benchmarks.measured.end_to_end import CONCURRENT
from benchmarks.measured.million import LONG, SHORT
from benchmarks.measured.postgres import DAEMONS, KINDS, POSTGRES, SQLITE, STRETCHES, drained


class Of(StrEnum):
    """What a bound is about: the figure, or its ratio to what stands beside it."""

    FIGURE = "figure"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Bound:
    """What the median must be: at least, or at the most; ``aim`` is hoped for beyond that."""

    of: Of
    least: float | None = None
    most: float | None = None
    aim: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether ``value`` is within the bound."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def __str__(self) -> str:
        """Say it in the form of the table."""
        sign, limit = ("≥", self.least) if self.least is not None else ("≤", self.most)
        times = " times" if self.of is Of.RATIO else ""
        aim = "" if self.aim is None else f" (aim {self.aim:g})"
        return f"{sign} {limit:g}{times}{aim}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    label: str
    unit: str
    key: Key
    beside: Key | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A line with what was found. ``reached`` is None where nothing was asked, or measured."""

    line: Line
    figure: Spread
    beside: Spread | None
    ratio: Spread | None
    reached: bool | None


def stand(figures: Figures, lines: Sequence[Line]) -> list[Standing]:
    """Return how each line that was measured stands."""
    found = [_standing(figures, line) for line in lines]
    return [each for each in found if each is not None]


def _standing(figures: Figures, line: Line) -> Standing | None:
    figure = figures.spread(line.key)
    if figure is None:
        return None
    beside = figures.spread(line.beside) if line.beside else None
    ratio = figures.ratio(line.key, line.beside) if line.beside else None
    spreads = {Of.FIGURE: figure, Of.RATIO: ratio}
    judged = [(bound, spread) for bound in line.bounds if (spread := spreads[bound.of]) is not None]
    is_whole = bool(judged) and len(judged) == len(line.bounds)
    reached = all(bound.is_met(spread.median) for bound, spread in judged) if is_whole else None
    return Standing(line, figure, beside, ratio, reached)


def _ratio(
    least: float | None = None, *, most: float | None = None, aim: float | None = None
) -> Bound:
    return Bound(Of.RATIO, least, most, aim)


def _figure(*, most: float) -> Bound:
    return Bound(Of.FIGURE, most=most)


def _against(measurement: str, quantity: str, system: str = DAEMON) -> tuple[Key, Key]:
    return Key(measurement, system, quantity), Key(measurement, POSTFIX, quantity)


def _enqueue(system: str) -> Key:
    return Key("enqueue", system, "rate")


def _million(queue: str, quantity: str) -> Key:
    return Key("million", queue, quantity)


_CLIENTS = [
    f"{client} into {sink}"
    for client in (
        "pipelined, asyncio",
        "pipelined, uvloop",
        "aiosmtplib, asyncio",
        "aiosmtplib, uvloop",
        "smtp-source",
    )
    for sink in ("our sink", "smtp-sink")
]

LINES: tuple[Line, ...] = (
    Line("Drain", "mails/s", *_against("drain", "rate"), (_ratio(8, aim=12),)),
    Line("Drain, CPU", "s per 1,000", *_against("drain", "cpu")),
    Line("Drain, peak memory", "MiB", *_against("drain", "memory")),
    Line("Drain, 2 processes", "mails/s", *_against("drain", "rate", TWO), (_ratio(8, aim=12),)),
    Line("Drain, 2 processes, CPU", "s per 1,000", *_against("drain", "cpu", TWO)),
    Line("Drain, 2 processes, peak memory", "MiB", *_against("drain", "memory", TWO)),
    Line("Drain, Postfix tuned", "mails/s", Key("drain", TUNED, "rate")),
    Line("Replies after 50 ms", "mails/s", *_against("round trips", "rate"), (_ratio(2.5),)),
    Line(
        "Round trips per mail and session",
        "",
        *_against("round trips", "trips"),
        (_figure(most=1.15),),
    ),
    Line("Replies after 50 ms, CPU", "s per 1,000", *_against("round trips", "cpu")),
    Line("Replies after 50 ms, Postfix tuned", "mails/s", Key("round trips", TUNED, "rate")),
    Line("End to end", "mails/s", *_against("end to end", "rate"), (_ratio(4, aim=7),)),
    Line(
        "CPU from enqueue to the answer",
        "s per 1,000",
        *_against("end to end", "cpu"),
        (_ratio(most=0.1),),
    ),
    Line(
        "End to end, `AsyncOutbox`, 50 calls at once in each producer",
        "mails/s",
        *_against("end to end", "rate", CONCURRENT),
        (_ratio(4, aim=7),),
    ),
    Line(
        "The same, CPU from enqueue to the answer",
        "s per 1,000",
        *_against("end to end", "cpu", CONCURRENT),
        (_ratio(most=0.1),),
    ),
    Line("End to end, Postfix tuned", "mails/s", Key("end to end", TUNED, "rate")),
    Line(
        "`Outbox.enqueue`, bytes / bare commits",
        "mails/s",
        _enqueue("Outbox, bytes"),
        _enqueue("bare commits"),
        (_ratio(0.5, aim=0.8),),
    ),
    Line(
        "`Outbox.enqueue`, EmailMessage / `as_bytes` alone",
        "mails/s",
        _enqueue("Outbox, EmailMessage"),
        _enqueue("as_bytes"),
    ),
    Line(
        "Own CPU on an EmailMessage, over that on bytes",
        "",
        Key("enqueue", "own share", "ratio"),
        None,
        (_figure(most=2),),
    ),
    Line(
        "`AsyncOutbox.enqueue`, 50 at once / one by one",
        "mails/s",
        _enqueue("AsyncOutbox, 50"),
        _enqueue("AsyncOutbox, 1"),
        (_ratio(4),),
    ),
    Line(
        "`enqueue_many` of 100 / bare commits of 100",
        "mails/s",
        _enqueue("enqueue_many of 100"),
        _enqueue("bare commits of 100"),
        (_ratio(0.6),),
    ),
    Line(
        "Latency when idle, median",
        "ms",
        *_against("latency", "median"),
        (_figure(most=3), _ratio(most=1)),
    ),
    Line("Latency when idle, worst", "ms", *_against("latency", "most")),
    Line(
        "Drain, long queue / short one",
        "mails/s",
        _million(LONG, "drain"),
        _million(SHORT, "drain"),
        (_ratio(0.9),),
    ),
    Line(
        "Enqueue, long queue / short one",
        "mails/s",
        _million(LONG, "enqueue"),
        _million(SHORT, "enqueue"),
        (_ratio(0.9),),
    ),
    Line(
        "Peak memory, long queue / short one",
        "MiB",
        _million(LONG, "memory"),
        _million(SHORT, "memory"),
        (_ratio(most=1.2),),
    ),
    *(
        Line(
            f"PostgreSQL / SQLite: drain, {count} daemon{'s' if count > 1 else ''}",
            "mails/s",
            Key("postgres", drained(POSTGRES, count), "rate"),
            Key("postgres", drained(SQLITE, count), "rate"),
        )
        for count in DAEMONS
    ),
    *(
        Line(
            f"PostgreSQL / SQLite: enqueue, {kind}",
            "mails/s",
            Key("postgres", f"{POSTGRES}, {kind}", "rate"),
            Key("postgres", f"{SQLITE}, {kind}", "rate"),
        )
        for kind in KINDS
    ),
    *(
        Line(
            f"PostgreSQL: claim of 100, {name} / short queue",
            "ms",
            Key("postgres claims", name, "median"),
            Key("postgres claims", "short queue", "median"),
        )
        for name in STRETCHES
    ),
    Line("Idle daemon", "% of a core", Key("idle", DAEMON, "percent"), None, (_figure(most=0.5),)),
    *(
        Line(f"Ceiling: {client}", "mails/s", Key("ceilings", client, "rate"))
        for client in _CLIENTS
    ),
)
