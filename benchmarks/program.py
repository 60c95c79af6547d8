"""A program of the benchmark in a process of its own: commands down, JSON lines up."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
READY = {"event": "ready"}


class Silence(Exception):
    """A program said nothing in time, or ended; what it wrote last is in the message."""


class Program:
    """``python -m module arguments``, with its standard error in ``log``; ended on leaving."""

    def __init__(self, module: str, *arguments: object, log: Path) -> None:
        self._name = module
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                bufsize=0,
            )
        self._held = b""

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def say(self, line: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def hear(self, event: str, *, timeout: float, past: str = "") -> dict[str, Any]:
        """Return the next line, which must be about ``event``; raises `Silence`.

        Lines about ``past`` may stand before it and are passed over.
        """
        deadline = time.monotonic() + timeout
        while True:
            said = dict(json.loads(self._line(deadline)))
            if said.get("event") == event:
                return said
            if said.get("event") != past:
                raise Silence(f"{self._name} said {said}, and not {event!r}")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._held:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise Silence(f"{self._name} said nothing in time{self._last_words()}")
            block = self._process.stdout.read(1 << 20)
            if not block:
                raise Silence(f"{self._name} ended{self._last_words()}")
            self._held += block
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _last_words(self) -> str:
        said = self._log.read_text(errors="replace")[-2000:].strip()
        return f":\n{said}" if said else ""


def await_go() -> None:
    """In the program: say that all is prepared, and wait for the word to begin."""
    tell(READY)
    sys.stdin.readline()


def tell(said: dict[str, Any]) -> None:
    """In the program: say ``said``."""
    print(json.dumps(said), flush=True)


def run_together(programs: Sequence[Program], *, timeout: float) -> list[dict[str, Any]]:
    """Let prepared programs begin at once; return what each says when it is done."""
    begin_together(programs, timeout=timeout)
    return [each.hear("done", timeout=timeout) for each in programs]


def begin_together(programs: Sequence[Program], *, timeout: float) -> None:
    """Wait until all are prepared, and let them begin."""
    for each in programs:
        each.hear("ready", timeout=timeout)
    for each in programs:
        each.say("go")
