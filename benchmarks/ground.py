"""What all measurements stand on: the options, a directory, and where figures go."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from benchmarks import postfix as private_postfix
from benchmarks.figures import Figures, Key
from benchmarks.ledger import WrongCount
from benchmarks.outbox import Outboxes
from benchmarks.profiles import prepare
from benchmarks.program import Silence

POLL = 0.005
FAILURES = (
    OSError,
    Silence,
    TimeoutError,
    WrongCount,
    subprocess.SubprocessError,
    DBAPIError,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person asked for. ``queued``: how full the queue of `million` is."""

    only: tuple[str, ...]
    rounds: int = 3
    mails: int = 20_000
    sessions: int = 20
    producers: int = 8
    latency: float = 0.05
    samples: int = 50
    queued: int = 1_000_000
    idle_seconds: float = 20.0
    postfix: bool = True
    tuned: bool = False
    profile: Path | None = None

    def __str__(self) -> str:
        """Say what the figures depend on."""
        return (
            f"{', '.join(self.only)}; rounds {self.rounds}, mails {self.mails:,}, sessions "
            f"{self.sessions}, producers {self.producers}, replies after {self.latency * 1000:g} "
            f"ms, long queue {self.queued:,}"
        )


@dataclass(slots=True)
class Ground:
    """``number``: the round that is under way, from 0."""

    choice: Choice
    directory: Path
    outboxes: Outboxes
    figures: Figures = field(default_factory=Figures)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    profiles: list[Path] = field(default_factory=list)
    number: int = 0
    _serial: Iterator[int] = field(default_factory=itertools.count)

    def note(self, measurement: str, system: str, **quantities: float) -> None:
        """Take down figures of this round, and tell them."""
        for quantity, value in quantities.items():
            self.figures.add(Key(measurement, system, quantity), self.number, value)
        told = ", ".join(f"{name} {value:,.4g}" for name, value in quantities.items())
        self.say(f"  {measurement}, {system}: {told}")

    def leave_out(self, what: str) -> None:
        """Take down, once, what is not measured and why."""
        if what not in self.left_out:
            self.left_out.append(what)
            self.say(f"  left out: {what}")

    def room(self) -> Path:
        """Return a new directory."""
        directory = self.directory / f"{next(self._serial):04}"
        directory.mkdir()
        return directory

    def profile(self, name: str, mails: int) -> Path | None:
        """Return where the profiles of a program go that handles ``mails``, or None."""
        if self.choice.profile is None:
            return None
        self.profiles.append(prepare(self.choice.profile, name, mails))
        return self.profiles[-1]

    def has_postfix(self) -> bool:
        """Whether Postfix can be measured; says why not."""
        why = private_postfix.missing() if self.choice.postfix else "it was not asked for"
        if why:
            self.leave_out(f"Postfix ({why})")
        return why is None

    def in_turn(self, systems: Sequence[tuple[str, Callable[[str], None]]]) -> None:
        """Measure each system once; the next round begins with another one.

        What goes wrong with one of them is told, and does not stop the others.
        """
        first = self.number % len(systems)
        for name, measure in (*systems[first:], *systems[:first]):
            try:
                measure(name)
            except FAILURES as error:
                self.failed.append(f"{name}, round {self.number + 1}: {error}")
                self.say(f"  FAILED: {self.failed[-1]}")

    @staticmethod
    def say(line: str) -> None:
        """Tell how far it is."""
        print(line, file=sys.stderr, flush=True)


def patience(mails: int, *, per_second: float = 50) -> float:
    """Return after how many seconds so many mails are given up."""
    return 60 + mails / per_second


def await_that(is_so: Callable[[], bool], *, timeout: float) -> float:
    """Return the instant at which something was found to be so; raises `TimeoutError`."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {timeout:.0f} s: {is_so.__qualname__}")
        time.sleep(POLL)
    return time.monotonic()
