"""The database: its version, what its connections are told, who works on it, who waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from mailqueue.cli.access import Access
from mailqueue.cli.around import surroundings
from mailqueue.cli.doctor.finding import Finding, warning, well, wrong
from mailqueue.cli.output import duration
from mailqueue.errors import MailqueueError
from mailqueue.outbox import schema
from mailqueue.outbox.allotment import allotments
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.fence import Phase, standing
from mailqueue.outbox.moment import present
from mailqueue.outbox.pulse import Life, Pulse, beating, pulses
from mailqueue.outbox.reap import live_relays
from mailqueue.outbox.tables import DEFAULT_RELAY

_MENDED: Final = (3, 51, 3)
"""The first SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug)."""
_WANTED: Final = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}


def examined(access: Access, path: Path | None) -> Iterator[Finding]:
    """Yield what is found in the outbox; `mailqueue db check` reads all of it besides."""
    if path is not None:
        yield library(sqlite3.sqlite_version_info)
    try:
        with access.reading() as connection:
            yield well("tables", f"version {schema.HEAD}")
            yield from _file(connection)
            yield from _server(connection)
            yield from _fenced(connection)
            yield from _daemons(connection, access)
            yield from _limits(connection)
            yield from _strangers(connection, access)
        if path is not None:
            yield _told(access)
    except MailqueueError as error:
        yield wrong("outbox", str(error), "see above")


def library(version: tuple[int, ...]) -> Finding:
    """Return what is to be said of this version of SQLite."""
    said = f"SQLite {'.'.join(map(str, version))}"
    if version >= _MENDED:
        return well("SQLite", said)
    return warning(
        "SQLite",
        f"{said} has the WAL-reset bug, unless whoever packaged it has mended it: two "
        "connections that write and checkpoint in the same instant may damage the file. The "
        "daemon checkpoints under the write lock, which keeps them apart; other programs do not",
        "use SQLite 3.51.3 or newer, keep other programs from writing, and take backups",
    )


def _file(connection: Connection) -> Iterator[Finding]:
    if connection.dialect.name != "sqlite":
        return
    mode = _asked(connection, "journal_mode")
    if mode != "wal":
        yield wrong(
            "journal", f"the file is in the mode {mode!r}", "open it with mailqueue: `db upgrade`"
        )
    if _asked(connection, "auto_vacuum") != "2":
        yield warning(
            "vacuum",
            "the file was made without incremental vacuum: free space is used again, and never "
            "given back to the disk",
            "nothing, where it is an application's own file; else restore a backup into a new one",
        )


def _server(connection: Connection) -> Iterator[Finding]:
    if connection.dialect.name == "postgresql":
        from mailqueue.cli.doctor.postgresql import server

        yield from server(connection)


def _asked(connection: Connection, pragma: str) -> str:
    return str(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())


def _told(access: Access) -> Finding:
    """Look at a connection as the daemon and producers have it; nothing is written through it."""
    engine = write_engine(access.url, busy_timeout=access.busy_timeout)
    try:
        with translating(access.url, reading=True), closing(engine.raw_connection()) as raw:
            found = {name: _asked_raw(raw, name) for name in _WANTED}
    finally:
        engine.dispose()
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    if found != _WANTED:
        return wrong("connections", f"{said}, and not as they must be", "report it: it is a fault")
    return well("connections", said)


def _asked_raw(raw: Any, pragma: str) -> str:
    with closing(raw.cursor()) as cursor:
        return str(cursor.execute(f"PRAGMA {pragma}").fetchone()[0])


def _fenced(connection: Connection) -> Iterator[Finding]:
    if (fence := standing(connection)) is None:
        return
    remedy = "let [database] url name that place, and restart daemon and producers"
    if fence.phase is not Phase.MOVED:
        remedy = "run `mailqueue db copy` again to end it, or with --undo to give it up"
    yield wrong("fence", f"nothing is sent or taken in: the outbox {fence}", remedy)


def _daemons(connection: Connection, access: Access) -> Iterator[Finding]:
    now = surroundings(connection, access).now
    lease = {} if access.config is None else {"patience": access.config.daemon.lease}
    found = pulses(connection, now=now, **lease)
    for pulse in found:
        yield _daemon(pulse)
    if beating(found) is None:
        yield warning("daemon", "none is running", "start it: `mailqueue run`, or its service")


def _daemon(pulse: Pulse) -> Finding:
    worker = pulse.worker
    said = f"{worker.id} on {worker.host}, process {worker.pid}, version {worker.version}"
    heard = f"heard of {duration(pulse.silent)} ago"
    if pulse.silent < -1:
        return warning("daemon", f"{said}, {heard} in the future", "the clock was set back")
    match pulse.life:
        case Life.ALIVE:
            return well("daemon", f"{said}, {heard}")
        case Life.STALLED:
            return warning("daemon", f"{said}, {heard}: it has stalled or ended", "see its log")
    return warning("daemon", f"{said} has died", "a daemon that starts settles what it left")


def _limits(connection: Connection) -> Iterator[Finding]:
    for name, found in sorted(allotments(connection, now=present(connection)).items()):
        if len(set(found.configured)) > 1:
            numbers = ", ".join(map(str, sorted(set(found.configured))))
            yield warning(
                "limits",
                f"the daemons are configured with different connections for relay {name}: "
                f"{numbers}; {found.connections} holds for all of them together",
                f"give [relays.{name}] the same connections everywhere",
            )


def _strangers(connection: Connection, access: Access) -> Iterator[Finding]:
    if access.config is None:
        return
    for name in live_relays(connection):
        if name not in access.config.relays and name != DEFAULT_RELAY:
            yield wrong(
                "relays",
                f"mail waits for a relay that is called {name}, and none is configured",
                f"configure [relays.{name}], or see `mailqueue list --relay {name}` and cancel it",
            )
