"""Which daemons are alive, as far as locks and heartbeats tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection

from mailqueue.clock import microseconds
from mailqueue.outbox.location import opened_path
from mailqueue.outbox.locks import is_dead
from mailqueue.outbox.workers import Worker, known

SILENT_AFTER = 120.0
"""Seconds without a heartbeat after which a worker is taken to have stalled: the usual lease."""


class Life(StrEnum):
    """How a worker is."""

    ALIVE = "alive"
    STALLED = "stalled"
    """Its process may be there, and nothing was heard of it for too long."""
    DEAD = "dead"
    """Its lock is free."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One worker, and how it is. ``silent``: seconds since its last heartbeat."""

    worker: Worker
    life: Life
    silent: float


def pulses(connection: Connection, *, now: int, patience: float = SILENT_AFTER) -> list[Pulse]:
    """Return how each worker is that has not been removed, the last one heard of first.

    ``patience``: seconds without a heartbeat after which one is stalled.
    """
    path = opened_path(connection)
    found = [_pulse(worker, path, now, patience) for worker in known(connection)]
    return sorted(found, key=lambda pulse: pulse.silent)


def beating(found: Iterable[Pulse]) -> Pulse | None:
    """Return the worker among ``found`` that is alive and was heard of last; None without one."""
    alive = (pulse for pulse in found if pulse.life is Life.ALIVE)
    return min(alive, key=lambda pulse: pulse.silent, default=None)


def _pulse(worker: Worker, path: Path | None, now: int, patience: float) -> Pulse:
    silent = (now - worker.heartbeat_at) / 1e6
    if path is not None and is_dead(path, worker.id):
        return Pulse(worker, Life.DEAD, silent)
    is_heard = now - worker.heartbeat_at < microseconds(patience)
    return Pulse(worker, Life.ALIVE if is_heard else Life.STALLED, silent)


def stalled(found: Iterable[Pulse]) -> list[Pulse]:
    """Return those of ``found`` that are neither heard of nor proven dead."""
    return [pulse for pulse in found if pulse.life is Life.STALLED]
