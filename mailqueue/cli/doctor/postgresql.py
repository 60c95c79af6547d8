"""PostgreSQL: whether it keeps what it acknowledges, and what holds up a queue there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from mailqueue.cli.doctor.finding import Finding, warning, well, wrong
from mailqueue.cli.output import duration
from mailqueue.clock import MICROSECONDS, Clock, SystemClock
from mailqueue.outbox.moment import present

OLDEST: Final = 150000
"""The oldest server that is tried: its maintainers look after it until November 2027."""
LONG_SECONDS: Final = 300.0
"""A transaction that is older than so keeps vacuum from everything that has died since."""
CROWDED: Final = 0.8
"""The part of max_connections from which on a restart of many daemons may find no room."""
OFF_SECONDS: Final = 5.0
"""How far this host's clock may be off before it is worth a word."""
DEAD_SHARE: Final = 0.5
DEAD_LEAST: Final = 10_000


def server(connection: Connection, *, clock: Clock | None = None) -> Iterator[Finding]:
    """Yield what is found on the server that ``connection`` leads to."""
    number, name = (_setting(connection, f"server_version{end}") for end in ("_num", ""))
    yield version(number, name)
    yield durability({name: _setting(connection, name) for name in _KEPT})
    yield from _vacuum(connection)
    yield _held_back(connection)
    yield _room(connection)
    yield clocks(present(connection), (clock or SystemClock()).now())


def version(number: str, name: str) -> Finding:
    """Return what is to be said of this version of PostgreSQL."""
    if int(number) >= OLDEST:
        return well("PostgreSQL", f"version {name}")
    return warning(
        "PostgreSQL",
        f"version {name} is older than what mailqueue is tried with",
        f"upgrade to PostgreSQL {OLDEST // 10000} or newer",
    )


def durability(settings: dict[str, str]) -> Finding:
    """Return whether what is acknowledged survives the loss of power.

    Our own sessions set synchronous_commit; an application that enqueues in its own transaction
    has what the server says.
    """
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    if "off" in (settings["fsync"], settings["full_page_writes"]):
        return wrong(
            "durability",
            f"{said}: a crash of the machine may lose mail that was accepted, and the database",
            "set fsync and full_page_writes to on, in postgresql.conf, and reload",
        )
    if settings["synchronous_commit"] == "off":
        return warning(
            "durability",
            f"{said}: what an application enqueues in a transaction of its own may be lost in a "
            "crash after its commit; mailqueue's own transactions say on",
            "ALTER ROLE ... SET synchronous_commit = on, for the applications that enqueue",
        )
    return well("durability", said)


def clocks(servers: int, hosts: int) -> Finding:
    """Return what is to be said of the server's clock beside this host's (epoch microseconds)."""
    apart = (hosts - servers) / MICROSECONDS
    if abs(apart) <= OFF_SECONDS:
        return well("clocks", "this host and the server agree")
    which = "ahead of" if apart > 0 else "behind"
    return warning(
        "clocks",
        f"this host is {duration(abs(apart))} {which} the server, whose time mailqueue goes by; "
        "what an application computes itself, such as send_at, is off by as much",
        "let NTP look after both",
    )


_KEPT: Final = ("fsync", "full_page_writes", "synchronous_commit")


def _setting(connection: Connection, name: str) -> str:
    # What a session begins with: ours has been told otherwise.
    asked = text("SELECT coalesce(reset_val, setting) FROM pg_settings WHERE name = :name")
    return str(connection.execute(asked, {"name": name}).scalar())


def _vacuum(connection: Connection) -> Iterator[Finding]:
    if _setting(connection, "autovacuum") != "on":
        yield wrong(
            "vacuum",
            "autovacuum is off: what has died is never cleared away, and claims get slower with "
            "each mail",
            "set autovacuum to on, in postgresql.conf, and reload",
        )
        return
    row: Any = connection.execute(_DEAD).one()
    said = f"{row.live:,} recipients and {row.dead:,} dead rows, last vacuumed {row.at or 'never'}"
    if row.dead > max(DEAD_LEAST, DEAD_SHARE * row.live):
        yield warning(
            "vacuum",
            f"{said}: vacuum does not keep up, or something holds it back",
            "see the line about old transactions; VACUUM mailqueue_recipients clears it at once",
        )
    else:
        yield well("vacuum", said)


_DEAD: Final = text(
    "SELECT n_live_tup AS live, n_dead_tup AS dead, to_char("
    "greatest(last_vacuum, last_autovacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'"
    ") AS at FROM pg_stat_user_tables WHERE relid = to_regclass('mailqueue_recipients')"
)


def _held_back(connection: Connection) -> Finding:
    row: Any = connection.execute(_OLDEST).one_or_none()
    if row is None or row.seconds < LONG_SECONDS:
        return well("old transactions", f"none is older than {duration(LONG_SECONDS)}")
    return warning(
        "old transactions",
        f"process {row.pid} ({row.name or 'no name'}, {row.state}) has one open for "
        f"{duration(row.seconds)}: nothing that died since can be cleared away",
        f"end it there, or here with SELECT pg_terminate_backend({row.pid})",
    )


# Whoever may not see others' sessions sees of them that they are there.
_OLDEST: Final = text(
    "SELECT pid, application_name AS name, state,"
    " CAST(extract(epoch FROM clock_timestamp() - xact_start) AS float) AS seconds"
    " FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    " AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND datname = current_database()"
    " AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1"
)


def _room(connection: Connection) -> Finding:
    used = int(connection.scalar(_CONNECTED) or 0)
    most = int(_setting(connection, "max_connections"))
    said = f"{used} of {most} are in use"
    if used >= CROWDED * most:
        return warning(
            "connections",
            f"{said}: daemons and producers that start may be refused",
            "raise max_connections, let applications pool theirs, or put PgBouncer in between",
        )
    return well("connections", said)


_CONNECTED: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
)
