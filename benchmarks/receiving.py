"""The sink as the benchmark sees it: a process that tells when enough has arrived."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ledger import Count
from benchmarks.program import Program

_SOON = 30.0


@dataclass(frozen=True, slots=True)
class Sink:
    """A sink on ``port``. Instants are those of CLOCK_MONOTONIC, which all processes share."""

    program: Program
    port: int

    def expect(self, recipients: int) -> None:
        """Forget what came so far, and wait for so many recipients from here on."""
        self.program.say("clear")
        self._hear("cleared")
        self.program.say(f"expect {recipients}")

    def first(self, *, timeout: float) -> float:
        """Return when the first session began, as soon as one has."""
        return float(self.program.hear("first", timeout=timeout)["at"])

    def reached(self, *, timeout: float) -> float:
        """Return when the last of the expected recipients came."""
        return float(self._hear("reached", timeout)["at"])

    def count(self) -> Count:
        """Return what has come."""
        self.program.say("count")
        said = self._hear("count")
        said.pop("event")
        return Count(**said)

    def times(self) -> dict[str, float]:
        """Return when each recipient's message had come, to its final dot."""
        self.program.say("times")
        return dict(self._hear("times")["times"])

    def _hear(self, event: str, timeout: float = _SOON) -> dict[str, Any]:
        # Whoever keeps sessions open begins none, so nobody may depend on a first one.
        return self.program.hear(event, timeout=timeout, past="first")


@contextlib.contextmanager
def sink(directory: Path, *, latency: float = 0.0) -> Iterator[Sink]:
    """Run a sink; ``latency``: seconds until each reply arrives."""
    log = directory / "sink.log"
    with Program("benchmarks.sink", "--latency", latency, log=log) as program:
        yield Sink(program, program.hear("listening", timeout=_SOON)["port"])
