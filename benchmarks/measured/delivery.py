"""What drain, round trips and end to end have in common: watch a queue run empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import DaemonSettings
from benchmarks.ground import Ground, await_that, patience
from benchmarks.outbox import MeasuredOutbox
from benchmarks.postfix import free_port
from benchmarks.postfix_config import PostfixSettings
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.receiving import Sink

DAEMON = "mailqueue"
POSTFIX = "Postfix"
TUNED = "Postfix tuned"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What it took. ``cpu``: seconds for 1,000 mails; ``mib``: the most memory (PSS)."""

    rate: float
    cpu: float
    mib: float


def watch(
    sink: Sink, mails: int, *, root: int, is_empty: Callable[[], bool], begin: Callable[[], None]
) -> Delivered:
    """Let delivery begin, and measure from the first session until the queue is empty.

    What a system needs to start is in none of the figures: it is paid once. ``root`` is its
    first process. Raises `WrongCount` unless each mail arrived once.
    """
    timeout = patience(mails)
    with PeakMemory(root) as memory:
        begin()
        began = sink.first(timeout=timeout)
        used = cpu_seconds(root)
        sink.reached(timeout=timeout)
        ended = await_that(is_empty, timeout=timeout)
        used = cpu_seconds(root) - used
    sink.count().check(mails)
    return Delivered(mails / (ended - began), used / mails * 1000, memory.mib)


def daemon_settings(
    ground: Ground,
    sink: Sink,
    outbox: MeasuredOutbox,
    *,
    processes: int = 1,
    profile: Path | None = None,
) -> DaemonSettings:
    """Return the daemon's settings; each has a directory of its own."""
    return DaemonSettings(
        ground.room(),
        outbox.url,
        sink.port,
        ground.choice.sessions,
        processes,
        profile,
    )


def postfix_settings(ground: Ground, sink: Sink, system: str) -> PostfixSettings:
    """Return Postfix's settings: as many sessions as the daemon, and no other change untuned."""
    return PostfixSettings(
        ground.room(), free_port(), sink.port, ground.choice.sessions, tuned=system == TUNED
    )


def postfixes(ground: Ground) -> tuple[str, ...]:
    """Return which Postfixes are measured."""
    if not ground.has_postfix():
        return ()
    return (POSTFIX, TUNED) if ground.choice.tuned else (POSTFIX,)
