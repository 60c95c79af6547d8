"""How much mail is in the outbox, in octets."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select, text

from mailqueue.outbox.clauses import among_found
from mailqueue.outbox.tables import messages, recipients


def queued_octets(connection: Connection) -> int:
    """Return the size of all messages with a recipient that is not finished.

    Walks all of these recipients: about a second for a million.
    """
    octets: int = connection.scalar(_QUEUED) or 0
    return octets


def stored_octets(connection: Connection) -> int | None:
    """Return the size of everything in a SQLite file, which no part of it exceeds.

    Costs nothing, however much that is. None for other databases.
    """
    if connection.dialect.name != "sqlite":
        return None
    octets: int = connection.scalar(_STORED)
    return octets


_LIVE = text("finished_at IS NULL")
_QUEUED: Final = select(func.sum(messages.c.size)).where(
    among_found(messages.c.id, select(recipients.c.message_id).where(_LIVE))
)
_STORED: Final = text(
    "SELECT (page_count - freelist_count) * page_size"
    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
