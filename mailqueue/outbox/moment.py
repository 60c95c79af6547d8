"""What time it is for everybody who uses one outbox."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, literal_column, select

from mailqueue.clock import Clock

_SERVERS = select(
    literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)", BigInteger())
)


def moment(connection: Connection, clock: Clock) -> int:
    """Return the present in epoch microseconds: on PostgreSQL by the server's clock.

    Hosts differ, by minutes where nobody looks after them; users of a SQLite file are on one.
    """
    if connection.dialect.name == "postgresql":
        return int(connection.scalar(_SERVERS) or 0)
    return clock.now()
