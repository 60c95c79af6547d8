"""How much more mail the outbox takes on."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection

from mailqueue.client.limits import Limits, place_of
from mailqueue.clock import Clock
from mailqueue.errors import LimitError
from mailqueue.outbox.volume import queued_octets, stored_octets

MEASURED_EVERY = 5.0
"""Seconds that a reading is good for."""
DISK_READ_EVERY = 0.25
"""Seconds, because others fill a disk faster than anybody fills the queue."""
DISK_PART = 16
"""This part of what stays free may be admitted between two readings of the disk."""
SHARE = 0.02
"""The most of a producer's time that may go into counting what is queued."""


class Headroom:
    """Stops a producer that has run away, and costs all others next to nothing.

    A reading is taken every few seconds; in between, what this process adds is counted and
    what others add or the daemon sends is not. The first reading is the size of the
    SQLite file: only where that exceeds the limit are the queued messages counted, and the
    longer that takes the less often. Mail that was rolled back counts until the next reading.

    The free disk is read several times a second, and whenever much has been admitted: what
    slips through between two readings is little beside the half of the floor that the daemon
    keeps to itself. Nothing is refused on a reading that is not of this moment.

    Threads share it without a lock. A lock held while the database is asked would stop the
    event loop of asynchronous producers; two readings at once do no harm.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._stored: int | None = None
        self._stored_until = float("-inf")
        self._queued = 0
        self._queued_until = float("-inf")
        self._free = 0
        self._free_until = float("-inf")
        self._free_for = 0

    def admit(self, connection: Connection, octets: int, path: Path | None) -> None:
        """Let ``octets`` more in, or raise `LimitError`; ``path`` is the SQLite file's, if any."""
        self._check_disk(octets, path)
        self._check_queued(connection, octets)

    def give_back(self, octets: int) -> None:
        """Take back what was let in and then not stored."""
        self._free += octets
        self._queued -= octets
        if self._stored is not None:
            self._stored -= octets

    def _check_disk(self, octets: int, path: Path | None) -> None:
        floor = self._limits.free_disk
        if floor is None or path is None:
            return
        now = self._clock.monotonic()
        if now >= self._free_until or octets > self._free_for or self._free - octets < floor:
            self._free = _free_octets(path)
            self._free_until = now + DISK_READ_EVERY
            self._free_for = floor // DISK_PART
        if self._free - octets < floor:
            raise LimitError(
                f"the disk of {path} has {self._free:,} octets free, and {floor:,} must stay free "
                "(free_disk); nothing was stored. Make room, or lower the limit: "
                + place_of("free_disk"),
                limit=floor,
                actual=self._free,
            )
        self._free -= octets
        self._free_for -= octets

    def _check_queued(self, connection: Connection, octets: int) -> None:
        limit = self._limits.queued_size
        if limit is None:
            return
        queued = self._read(connection, limit - octets)
        if queued + octets > limit:
            raise LimitError(
                f"{queued:,} octets are queued already and the limit is {limit:,} (queued_size); "
                "nothing was stored. See why the mail does not go, or raise the limit: "
                + place_of("queued_size"),
                limit=limit,
                actual=queued,
            )
        self._queued += octets
        if self._stored is not None:
            self._stored += octets

    def _read(self, connection: Connection, room: int) -> int:
        """Return a reading that is at least what is queued; the exact one where it matters."""
        now = self._clock.monotonic()
        if now >= self._stored_until:
            self._stored = stored_octets(connection)
            self._stored_until = now + MEASURED_EVERY
        if self._stored is not None and self._stored <= room:
            return self._stored
        if now >= self._queued_until:
            self._queued = queued_octets(connection)
            took = self._clock.monotonic() - now
            self._queued_until = now + max(MEASURED_EVERY, took / SHARE)
        return self._queued


def _free_octets(path: Path) -> int:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize
