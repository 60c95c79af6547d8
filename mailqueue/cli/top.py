"""`mailqueue top`: the queue at work, looked at again and again."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Final

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.fitting import fitted, needs, parted, widths
from mailqueue.cli.grid import Grid, has_colour, plain, table
from mailqueue.cli.output import duration, instant, one_line
from mailqueue.clock import SystemClock, microseconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mailqueue.cli.stats import Line
    from mailqueue.cli.waiting import Surroundings
    from mailqueue.outbox.pulse import Pulse

REFRESH = 1.0
"""Seconds between two looks."""
SHARE = 0.1
"""The most of the time that may go into looking: a large queue is looked at less often."""
REASONS = 8
"""How many reasons are shown."""

_HEADINGS: Final = (
    "Relay", "Breaker", "Sent", "A minute", "Put off", "Failed", "In doubt",
    "Queued", "Deferred", "Sending", "Held", "Due", "Oldest due",
)  # fmt: skip
_NUMBERS: Final = frozenset(_HEADINGS[2:])
_LEAVING: Final = ("q", "Q", "\x03")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look into the outbox saw: a line above, the relays, and what they say."""

    heading: str
    relays: Grid
    reasons: Grid


@click.command()
@takes_outbox
@click.option(
    "--since",
    type=DURATION,
    default="15m",
    show_default=True,
    metavar="DURATION",
    help="How far back to count.",
)
def top(access: Access, since: float) -> None:
    """Watch the queue at work.

    What was sent and refused lately by each relay, what waits, and what relays say most, every
    second; q or Ctrl-C leaves it. A narrow terminal shows the most important columns. Where the
    output is no terminal it is printed once. What expired while it waited is counted by
    `mailqueue stats` only.
    """
    first = look(access, since)
    if sys.stdout.isatty():
        _watch(first, lambda: look(access, since))
        return
    for grid in (first.relays, first.reasons):
        click.echo(one_line(first.heading) if grid is first.relays else "")
        for line in plain(grid):
            click.echo(line)


def look(access: Access, since: float) -> Look:
    """Read what is to be shown, in one snapshot."""
    from mailqueue.cli.reasons import grid
    from mailqueue.cli.stats import counted
    from mailqueue.outbox.location import describe
    from mailqueue.outbox.pulse import pulses
    from mailqueue.outbox.reasons import reasons
    from mailqueue.outbox.traffic import By

    with access.reading() as connection:
        lines, around = counted(connection, access, since=since, by=By.RELAY, walks=False)
        said = reasons(connection, since=around.now - microseconds(since), limit=REASONS)
        alive = pulses(connection, now=around.now)
    where = f"last {duration(since)}  {instant(around.now)}  {describe(access.url)}"
    rows = [_row(line, since, around) for line in sorted(lines, key=lambda line: line.name)]
    return Look(
        f"{_daemons(alive)}  {where}", Grid(_HEADINGS, rows, numbers=_NUMBERS), grid(said, around)
    )


def _row(line: Line, since: float, around: Surroundings) -> tuple[str, ...]:
    from mailqueue.cli.stats import cells

    sent, rate, put_off, failed, _, doubt, *now = cells(line, since, around)
    row = around.relays.get(line.name)
    breaker = "" if row is None else row.breaker
    return (line.name, breaker, sent, rate, put_off, failed, doubt, *now)


def _daemons(found: list[Pulse]) -> str:
    from mailqueue.outbox.pulse import Life

    alive = [pulse for pulse in found if pulse.life is Life.ALIVE]
    if not alive:
        return "no daemon is running"
    heard = duration(min(pulse.silent for pulse in alive))
    count = "one daemon" if len(alive) == 1 else f"{len(alive)} daemons"
    return f"{count}, heard of {heard} ago"


def _watch(first: Look, again: Callable[[], Look]) -> None:
    from rich.console import Console
    from rich.live import Live

    clock = SystemClock()
    console = Console(no_color=not has_colour(), legacy_windows=False)
    live = Live(_frame(first, console.width), console=console, screen=True, auto_refresh=False)
    try:
        with _keys() as pressed:
            live.start(refresh=True)
            pause = REFRESH
            while pressed(pause) not in _LEAVING:
                begun = clock.monotonic()
                live.update(_frame(again(), console.width), refresh=True)
                pause = max(REFRESH, (clock.monotonic() - begun) / SHARE)
    except KeyboardInterrupt:
        return
    finally:
        live.stop()


def _frame(seen: Look, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    heading = Text(f"q leaves  {one_line(seen.heading)}", style="bold")
    heading.no_wrap, heading.overflow = True, "ellipsis"
    parts: list[RenderableType] = [heading]
    for grid in fitting(seen, width):
        parts += [Text(), table(grid, widths=widths(grid, width), is_cut=True)]
    return Group(*parts)


def fitting(seen: Look, width: int) -> Iterator[Grid]:
    """Yield the grids of ``seen`` as a terminal of ``width`` columns has room for them."""
    if needs(seen.relays) <= width:
        yield seen.relays
    else:
        lately, now = parted(seen.relays, 1, _HEADINGS.index("Queued"))
        yield fitted(lately, width, dispensable=("A minute", "Put off"))
        yield fitted(now, width, dispensable=("Sending", "Deferred"))
    missed = ("Recipients", "Last", "Stage", "Outcome", "Message")
    yield fitted(seen.reasons, width, dispensable=missed, sentence="Reason")


_LOCAL_MODES: Final = 3
"""Where `termios.tcgetattr` keeps them."""


def _no_key(seconds: float) -> str:
    Event().wait(seconds)
    return ""


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits so many seconds for a key, and returns it or nothing."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([terminal], [], [], seconds)
        return os.read(terminal, 1).decode("ascii", "replace") if ready else ""

    tty.setcbreak(terminal)
    # Ctrl-C as a key: as a signal it could come while the screen is being drawn.
    quiet = termios.tcgetattr(terminal)
    quiet[_LOCAL_MODES] &= ~termios.ISIG
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
