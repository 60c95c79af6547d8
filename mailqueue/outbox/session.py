"""How a connection to PostgreSQL is asked for, so that a server which is gone is noticed."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL

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
