"""How a connection to PostgreSQL is asked for and what it is told: nothing waits for ever."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, event, text

from mailqueue.outbox.location import is_pooled

# By itself TCP notices after two hours that a silent peer is gone, and after a quarter of an hour
# that nobody acknowledges what was sent (libpq-connect in PostgreSQL's manual, in milliseconds).
_ALIVE: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def arguments(url: URL, *, name: str = "mailqueue") -> dict[str, Any]:
    """Return what the driver is told besides what stands in ``url``, which goes first.

    ``name`` is how the session is called in `pg_stat_activity`.
    """
    wanted = {**_ALIVE, "application_name": name}
    if is_pooled(url):
        # What is prepared in a session is not there in the next transaction's, or is another's.
        wanted["prepare_threshold"] = None
    return {key: value for key, value in wanted.items() if key not in url.query}


STATEMENT_SECONDS: Final = 30.0
"""How long a statement may take, besides what it may wait for others."""
IDLE_SECONDS: Final = 60.0
"""How long a transaction may stand still. A process that is stopped in one holds up vacuum."""


def limit(engine: Engine, *, busy_timeout: float, pooled: bool) -> None:
    """Tell each connection of an engine of ours how long it may wait, and that commits are kept.

    ``busy_timeout`` in seconds: the wait for what others have locked. ``pooled``: behind PgBouncer
    in transaction mode a session is another program's next, so each transaction is told anew.
    """
    if engine.dialect.name != "postgresql":
        return
    milliseconds = {
        "lock_timeout": max(1, round(1000 * busy_timeout)),  # 0 would be no limit
        "statement_timeout": round(1000 * (busy_timeout + STATEMENT_SECONDS)),
        "idle_in_transaction_session_timeout": round(1000 * IDLE_SECONDS),
    }
    settings = {**milliseconds, "synchronous_commit": "on"}
    # One answer for all: sent as plain text, several statements are one round trip.
    if pooled:
        local = "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())
        event.listen(engine, "begin", lambda connection: _say(connection, local))
        return
    told = "; ".join(f"SET {name} = {value}" for name, value in settings.items()) + "; COMMIT"

    def tell(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(told)

    event.listen(engine, "connect", tell)


def _say(connection: Connection, words: str) -> None:
    connection.exec_driver_sql(words)


def take_time(connection: Connection) -> None:
    """Let the statements of this transaction take as long as they need: a migration, a check."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
