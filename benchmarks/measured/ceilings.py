"""What could be reached at all: clients without a queue, into both sinks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.ground import Ground, patience
from benchmarks.loops import HAS_UVLOOP
from benchmarks.postfix import await_port, found, free_port, inject
from benchmarks.program import Program, run_together
from benchmarks.receiving import sink

OURS, SMTP_SINK = "our sink", "smtp-sink"
BACKLOG = "4096"


def measure(ground: Ground) -> None:
    """Let each client send into each sink once."""
    programs: dict[str, Callable[[Ground, int], float]] = {
        f"{client}, {loop}": partial(_client, client, loop)
        for client in ("pipelined", "aiosmtplib")
        for loop in (("asyncio", "uvloop") if HAS_UVLOOP else ("asyncio",))
    }
    if not HAS_UVLOOP:
        ground.leave_out("clients on uvloop (not installed)")
    if found("smtp-source"):
        programs["smtp-source"] = _smtp_source
    else:
        ground.leave_out("smtp-source (not installed)")
    ground.in_turn(
        [
            (f"{name} into {target}", partial(_send, ground, send, target))
            for target in _sinks(ground)
            for name, send in programs.items()
        ]
    )


def _sinks(ground: Ground) -> tuple[str, ...]:
    if ground.choice.postfix and found("smtp-sink"):
        return (OURS, SMTP_SINK)
    ground.leave_out("smtp-sink (not installed, or not asked for)")
    return (OURS,)


def _send(ground: Ground, send: Callable[[Ground, int], float], target: str, system: str) -> None:
    mails = ground.choice.mails
    with _open(ground, target) as port:
        ground.note("ceilings", system, rate=mails / send(ground, port))


@contextlib.contextmanager
def _open(ground: Ground, target: str) -> Iterator[int]:
    if target == SMTP_SINK:
        with _smtp_sink() as port:
            yield port
        return
    with sink(ground.room()) as at:
        at.expect(ground.choice.mails)
        yield at.port
        at.reached(timeout=patience(ground.choice.mails))
        at.count().check(ground.choice.mails)


@contextlib.contextmanager
def _smtp_sink() -> Iterator[int]:
    port = free_port()
    command = [found("smtp-sink") or "smtp-sink", "-m", "2000"]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
    process = subprocess.Popen(
        [*command, f"127.0.0.1:{port}", BACKLOG],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _client(client: str, loop: str, ground: Ground, port: int) -> float:
    chosen = ground.choice
    what: tuple[object, ...] = (client, "--loop", loop, "--port", port)
    what += ("--sessions", chosen.sessions, "--mails", chosen.mails)
    log = ground.room() / "client.log"
    with Program("benchmarks.wire_client", *what, log=log) as program:
        (done,) = run_together([program], timeout=patience(chosen.mails))
    return float(done["seconds"])


def _smtp_source(ground: Ground, port: int) -> float:
    chosen = ground.choice
    began = time.monotonic()
    timeout = patience(chosen.mails)
    inject(port, chosen.mails, sessions=chosen.sessions, directory=ground.room(), timeout=timeout)
    return time.monotonic() - began
