"""A drain over a long path: what counts is how often a session waits for its relay."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.ground import Ground
from benchmarks.measured.delivery import DAEMON, Delivered, postfixes
from benchmarks.measured.drain import drain_outbox, drain_postfix
from benchmarks.receiving import Sink, sink

SHARE = 4
"""One mail in so many of those asked for: each takes long."""


def measure(ground: Ground) -> None:
    """Drain each system once, over the same number of sessions."""
    systems: list[tuple[str, Callable[[str], None]]] = [(DAEMON, partial(_daemon, ground))]
    systems += [(name, partial(_postfix, ground)) for name in postfixes(ground)]
    ground.in_turn(systems)


def trips(sessions: int, rate: float, latency: float) -> float:
    """Return the round trips that a session spends on a mail."""
    return sessions / (rate * latency)


def _daemon(ground: Ground, system: str) -> None:
    with _far(ground) as (near, at):
        _note(ground, system, drain_outbox(near, at), at)


def _postfix(ground: Ground, system: str) -> None:
    with _far(ground) as (near, at):
        _note(ground, system, drain_postfix(near, at, system), at)


@contextlib.contextmanager
def _far(ground: Ground) -> Iterator[tuple[Ground, Sink]]:
    """Give a sink far away, and the same ground with fewer mails."""
    fewer = max(ground.choice.sessions, ground.choice.mails // SHARE)
    choice = dataclasses.replace(ground.choice, mails=fewer)
    with sink(ground.room(), latency=ground.choice.latency) as at:
        yield dataclasses.replace(ground, choice=choice), at


def _note(ground: Ground, system: str, found: Delivered, at: Sink) -> None:
    chosen = ground.choice
    ground.note(
        "round trips",
        system,
        rate=found.rate,
        cpu=found.cpu,
        trips=trips(chosen.sessions, found.rate, chosen.latency),
        sessions=at.count().peak_sessions,
    )
