"""What is measured for monitoring, read from the outbox and its disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, text

from mailqueue.cli.access import Access
from mailqueue.cli.output import duration, one_line
from mailqueue.cli.thresholds import said_size
from mailqueue.clock import microseconds
from mailqueue.outbox import relays
from mailqueue.outbox.checkpoint import log_size
from mailqueue.outbox.due import oldest
from mailqueue.outbox.fence import standing
from mailqueue.outbox.location import opened_path
from mailqueue.outbox.pulse import beating, pulses
from mailqueue.outbox.refused import refused
from mailqueue.outbox.relays import RelayRow
from mailqueue.outbox.tables import attempts
from mailqueue.outbox.traffic import traffic

FEW: Final = 10
"""With fewer recipients that ended than this, no share of them means anything."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of one measure; None where there is none and should be one.

    ``see``: the command that tells more.
    """

    measure: str
    value: float | None
    text: str
    see: str


def readings(
    connection: Connection, access: Access, *, now: int, window: float
) -> Iterator[Reading]:
    """Yield each measure; ``window``: seconds that failures and doubts are counted over.

    Each by an index or along the last attempts, so that it may be asked every minute.
    """
    since = now - microseconds(window)
    yield _oldest(connection, now)
    yield _failed(connection, since, window)
    yield _doubt(connection, since, window)
    yield _paused(connection, now)
    yield _heartbeat(connection, access, now)
    path = opened_path(connection)
    if path is not None:
        found = os.statvfs(path.parent)
        free = found.f_bavail * found.f_frsize
        yield Reading("disk", free, f"{said_size(free)} free on its disk", "doctor")
        log = log_size(path)
        yield Reading("log", log, f"SQLite's log has {said_size(log)}", "doctor")


def _oldest(connection: Connection, now: int) -> Reading:
    first = oldest(connection, now=now)
    if first is None:
        return Reading("oldest", 0.0, "no mail is due", "stats")
    age = (now - first.due_at) / 1e6
    said = f"the oldest due mail has been due for {duration(age)}"
    return Reading("oldest", age, said, f"explain --message {first.message}")


def _failed(connection: Connection, since: int, window: float) -> Reading:
    found = refused(connection, since=since)
    sent = sum(one.sent for one in traffic(connection, since=since).values())
    ended = sent + found.failed
    share = 100 * found.failed / ended if ended >= FEW else 0.0
    said = f"{found.failed} of {ended} recipients failed in {duration(window)}"
    if 0 < ended < FEW:
        said += ", too few to judge by"
    if found.mended:
        said += f"; {found.mended} others failed and have begun anew"
    return Reading("failed", share, said, f"reasons --outcome fail --since {window:.0f}s")


def _doubt(connection: Connection, since: int, window: float) -> Reading:
    count = connection.scalar(_DOUBTS, {"since": since}) or 0
    said = f"{count} attempts in doubt in {duration(window)}"
    return Reading("doubt", count, said, f"reasons --outcome in-doubt --since {window:.0f}s")


def _paused(connection: Connection, now: int) -> Reading:
    rows = relays.load(connection).values()
    paused = [*_by_a_fence(connection), *_by_people(rows, now), *_by_breakers(rows)]
    if not paused:
        return Reading("paused", 0.0, "no relay is paused", "doctor")
    since, name, why, tells_more = min(paused)
    age = max(0.0, (now - since) / 1e6)
    names = ", ".join(dict.fromkeys(one for _, one, _, _ in paused))
    said = f"paused: {names}; {name} for {duration(age)}, {why}"
    return Reading("paused", age, one_line(said), tells_more)


_Paused = tuple[int, str, str, str]
"""Since when (epoch microseconds), which relay, why, and the command that tells more."""


def _by_a_fence(connection: Connection) -> Iterator[_Paused]:
    if (fence := standing(connection)) is not None:
        yield fence.since, "all relays", f"the outbox {fence}", "doctor"


def _by_people(rows: Iterable[RelayRow], now: int) -> Iterator[_Paused]:
    for row in rows:
        if row.is_paused(now=now) and row.paused_at is not None:
            why = f"by {row.paused_by}" + (f": {row.pause_reason}" if row.pause_reason else "")
            yield row.paused_at, row.name, why, "relays"


def _by_breakers(rows: Iterable[RelayRow]) -> Iterator[_Paused]:
    for row in rows:
        if row.breaker != "closed":
            words = " ".join(filter(None, (str(row.code or ""), row.enhanced, row.text)))
            yield row.since, row.name, f"at {row.stage}: {words}", "doctor"


def _heartbeat(connection: Connection, access: Access, now: int) -> Reading:
    lease = {} if access.config is None else {"patience": access.config.daemon.lease}
    found = pulses(connection, now=now, **lease)
    alive = beating(found)
    if alive is not None:
        age = max(0.0, alive.silent)
        return Reading("heartbeat", age, f"a daemon was heard of {duration(age)} ago", "doctor")
    if not found:
        return Reading("heartbeat", None, "no daemon is running", "doctor")
    last = found[0]
    said = f"no daemon is alive; the last was heard of {duration(last.silent)} ago"
    return Reading("heartbeat", None, said, "doctor")


_DOUBTS: Final = select(func.count()).where(
    text("verdict = 'in-doubt'"), attempts.c.ended_at >= bindparam("since")
)
