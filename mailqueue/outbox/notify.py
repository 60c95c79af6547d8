"""The doorbell on PostgreSQL: a NOTIFY that the commit itself sends, and as few of them as will do.

See docs/decisions/0045-notify-is-coalesced.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from mailqueue.clock import SystemClock

REST_SECONDS: Final = 0.1
"""So long after a NOTIFY its process sends no other one: each takes a lock of the whole server."""
ECHO_SECONDS: Final = 0.2
"""So long after a NOTIFY a daemon looks once more, for what was committed without one."""

# Notifications stay in their database. The table's number tells two schemas of it apart, and each
# connection finds that by its own search path, as it finds the table.
CHANNEL: Final = "'mailqueue_' || CAST(to_regclass('mailqueue_recipients') AS oid)"
_RING = (
    f"SELECT pg_notify(channel, '') FROM (SELECT {CHANNEL} AS channel) AS bell"  # noqa: S608
    " WHERE channel IS NOT NULL"
)

_ASKED = "mailqueue.notify"
_RUNG = "mailqueue.notified-at"
_clock = SystemClock()


@dataclass(slots=True)
class _Bell:
    """When the last NOTIFY of an engine was sent that is known to be committed (monotonic)."""

    rung: float | None = None

    def is_heard_still(self, now: float) -> bool:
        """Whether daemons will look again anyway after what is committed now."""
        return self.rung is not None and now - self.rung < REST_SECONDS


@dataclass(frozen=True, slots=True)
class _Ring:
    """A NOTIFY whose commit is under way."""

    bell: _Bell
    at: float


_bells: WeakKeyDictionary[Engine, _Bell] = WeakKeyDictionary()


def notify_at_commit(connection: Connection) -> None:
    """Let the commit of the transaction that ``connection`` is in wake the daemons.

    Nothing is sent where the transaction is rolled back, or where this process has rung less than
    `REST_SECONDS` before the commit.
    """
    _watch(connection.engine)
    connection.info[_ASKED] = True


def _watch(engine: Engine) -> None:
    if engine in _bells:
        return
    _bells[engine] = _Bell()
    event.listen(engine, "commit", _on_commit)
    event.listen(engine, "rollback", _on_rollback)
    event.listen(engine, "handle_error", _on_error)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "checkin", _on_checkin)


def _on_commit(connection: Connection) -> None:
    """Send it now, at the end: until COMMIT nobody else waits for the lock that NOTIFY takes."""
    if not connection.info.pop(_ASKED, False):
        return
    bell, now = _bells[connection.engine], _clock.monotonic()
    if bell.is_heard_still(now) or _has_failed(connection):
        return
    connection.exec_driver_sql(_RING)
    connection.info[_RUNG] = _Ring(bell, now)


def _has_failed(connection: Connection) -> bool:
    """Whether the server will answer this COMMIT by rolling back, and any statement by an error."""
    driver: Any = connection.connection.driver_connection
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    return getattr(status, "name", "") == "INERROR"


def _on_rollback(connection: Connection) -> None:
    if connection.invalidated:
        return
    connection.info.pop(_ASKED, None)
    connection.info.pop(_RUNG, None)


def _on_error(context: ExceptionContext) -> None:
    # A commit that the server has refused, which no rollback follows.
    if context.connection is not None and not context.is_disconnect:
        context.connection.info.pop(_RUNG, None)


def _on_begin(connection: Connection) -> None:
    _confirm(connection.info.pop(_RUNG, None))


def _on_checkin(connection: object, record: ConnectionPoolEntry) -> None:
    record.info.pop(_ASKED, None)
    ring = record.info.pop(_RUNG, None)
    # A connection that is gone takes what became of its last commit with it.
    if connection is not None:
        _confirm(ring)


def _confirm(ring: _Ring | None) -> None:
    if ring is not None:
        ring.bell.rung = ring.at
