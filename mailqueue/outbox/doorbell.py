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
DEAF_SECONDS = 0.01
"""After a ring, for how long the daemon lets others come. Its transactions keep as far apart, so
it would claim their mail no earlier; to hear each cost it a tenth of its time where mail came
from many producers."""


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
    """The daemon's end. Starting or stopping it twice, or stopping it unstarted, is harmless."""

    def __init__(self, path: Path, worker: str) -> None:
        self._path = sidecar(path, KIND, worker)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deaf: asyncio.TimerHandle | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` in the running loop whenever somebody has rung: at once after a while of
        silence, else within `DEAF_SECONDS`. Many rings may be one call.

        Raises `OSError` where the socket cannot be bound. The caller can go on without it.
        """
        if self._socket is not None:
            return
        self._socket = _bind(self._path)
        self._loop = asyncio.get_running_loop()
        self._listen(self._loop, self._socket, wake)

    def stop(self) -> None:
        """Take the doorbell away."""
        bell, loop = self._socket, self._loop
        self._socket = self._loop = None
        if bell is None or loop is None:
            return
        if self._deaf is not None:
            self._deaf.cancel()
        loop.remove_reader(bell)
        bell.close()
        self._path.unlink(missing_ok=True)

    def _listen(
        self, loop: asyncio.AbstractEventLoop, bell: socket.socket, wake: Callable[[], None]
    ) -> None:
        loop.add_reader(bell, self._answer, loop, bell, wake)

    def _answer(
        self, loop: asyncio.AbstractEventLoop, bell: socket.socket, wake: Callable[[], None]
    ) -> None:
        # Bounded, because somebody who never stops ringing must not hold up the loop.
        with suppress(BlockingIOError):
            for _ in range(_RINGS_AT_ONCE):
                bell.recv(16)
        loop.remove_reader(bell)
        self._deaf = loop.call_later(DEAF_SECONDS, self._listen, loop, bell, wake)
        wake()


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
