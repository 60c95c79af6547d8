"""The doorbell: a socket beside the SQLite file, rung after a commit so that mail goes at once.

Each daemon binds its own, ``<database>.bell-<worker>``, and a ring reaches all of them. It is a
courtesy: whoever cannot ring, or is not heard, is found by polling.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from mailqueue.outbox.bells import KIND, address_of, ring_bells
from mailqueue.outbox.location import opened_path, sidecar
from mailqueue.outbox.notify import notify_at_commit

MODE = 0o660
"""Whoever may write the database may ring."""
_RINGS_AT_ONCE = 1000


def ring(path: Path) -> None:
    """Wake the daemons that work on the database file ``path``.

    Never blocks and never raises: the mail is stored, and nothing that fails here may
    look as if it were not.
    """
    with suppress(OSError, ValueError):
        ring_resolved(Path(os.path.realpath(path)))


def ring_resolved(path: Path) -> None:
    """Do as `ring` for a path that is known to hold no links."""
    with suppress(OSError, ValueError):
        ring_bells(path)


class Doorbell:
    """The daemon's end. Starting or stopping it twice, or stopping it unstarted, is harmless.

    ``rest``: where two rings are heard in so many seconds, others may come for as long before they
    are heard, together. To hear each cost the daemon a tenth of its time where mail came from many
    producers.
    """

    def __init__(self, path: Path, worker: str, *, rest: float = 0.0) -> None:
        self._path = sidecar(path, KIND, worker)
        self._rest = rest
        self._hung: _Hung | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` in the running loop whenever somebody has rung: at once after a while of
        silence, else after the rest. Many rings may be one call.

        Raises `OSError` where the socket cannot be bound. The caller can go on without it.
        """
        if self._hung is None:
            loop = asyncio.get_running_loop()
            self._hung = _Hung(_bind(self._path), loop, wake, self._rest)

    def stop(self) -> None:
        """Take the doorbell away."""
        hung, self._hung = self._hung, None
        if hung is not None:
            hung.take_down()
            self._path.unlink(missing_ok=True)


class _Hung:
    """A bell between start and stop."""

    def __init__(
        self,
        bell: socket.socket,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], None],
        rest: float,
    ) -> None:
        self._bell = bell
        self._loop = loop
        self._wake = wake
        self._rest = rest
        self._resting: asyncio.TimerHandle | None = None
        self._rung_at = float("-inf")
        """When somebody rang last, by the loop's time."""
        self._listen()

    def take_down(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._bell)
        self._bell.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._bell, self._answer)

    def _answer(self) -> None:
        # Bounded, because somebody who never stops ringing must not hold up the loop.
        with suppress(BlockingIOError):
            for _ in range(_RINGS_AT_ONCE):
                self._bell.recv(16)
        self._wake()
        now = self._loop.time()
        if now - self._rung_at < self._rest:
            self._loop.remove_reader(self._bell)
            self._resting = self._loop.call_later(self._rest, self._listen)
        self._rung_at = now


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bell.setblocking(False)
        with address_of(path) as address:
            bell.bind(address)
        path.chmod(MODE)  # bind takes the umask off
    except OSError:
        bell.close()
        raise
    return bell


_ASKED = "mailqueue.ring"
_COMMITTING = "mailqueue.ring-due"
_watched: WeakSet[Engine] = WeakSet()


def ring_after_commit(connection: Connection) -> None:
    """Ring once the transaction that ``connection`` is in is committed; not if it is rolled back.

    SQLAlchemy announces a commit before it is made, and a daemon woken then would see
    nothing and go back to sleep. So the ring comes with the first thing to happen after
    it: the connection goes back to its pool, or begins another transaction. On PostgreSQL
    the commit itself rings (see `mailqueue.outbox.notify`). Does nothing for other databases.
    """
    if connection.dialect.name == "postgresql":
        notify_at_commit(connection)
        return
    path = opened_path(connection)
    if path is not None:
        _watch(connection.engine)
        connection.info[_ASKED] = path


def ring_if_asked(connection: Connection) -> None:
    """Ring now if `ring_after_commit` was called: for who has committed past SQLAlchemy."""
    if (path := connection.info.pop(_ASKED, None)) is not None:
        ring_resolved(path)


def ring_not(connection: Connection) -> None:
    """Forget that it was called: for who has rolled back past SQLAlchemy."""
    if not connection.invalidated:
        connection.info.pop(_ASKED, None)


def _watch(engine: Engine) -> None:
    if engine in _watched:
        return
    _watched.add(engine)
    event.listen(engine, "commit", _on_commit)
    event.listen(engine, "rollback", _on_rollback)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "checkin", _on_checkin)


def _on_commit(connection: Connection) -> None:
    if _ASKED in connection.info:
        connection.info[_COMMITTING] = connection.info.pop(_ASKED)


def _on_rollback(connection: Connection) -> None:
    if connection.invalidated:
        return  # there is no connection any more whose notes could be read or matter
    # Of a commit that failed too: what follows it is a rollback.
    connection.info.pop(_ASKED, None)
    connection.info.pop(_COMMITTING, None)


def _on_begin(connection: Connection) -> None:
    if (path := connection.info.pop(_COMMITTING, None)) is not None:
        ring_resolved(path)


def _on_checkin(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info.pop(_ASKED, None)
    if (path := record.info.pop(_COMMITTING, None)) is not None:
        ring_resolved(path)
