"""What is finished and old leaves the outbox: contents first, whole messages later."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
)

from mailqueue.failpoint import reach
from mailqueue.outbox.clauses import among_found
from mailqueue.outbox.tables import contents, messages, recipients

BATCH = 500
"""Messages looked at in one transaction, so that producers never wait long for their turn."""
PAGES = 500
"""Pages given back to the file system in one transaction: 2 MB, some ten milliseconds."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Up to when to prune, in epoch microseconds; None keeps everything.

    A message is as old as the last of its recipients to finish, and is kept whatever its age
    while one is unfinished.
    """

    contents_before: int | None = None
    messages_before: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch removed. ``last``: where the next one goes on, None at the end."""

    contents: int
    messages: int
    last: int | None


def prune(
    connection: Connection, retention: Retention, *, after: int = 0, limit: int = BATCH
) -> Pruned:
    """Prune among the ``limit`` messages that follow the id ``after``.

    Begin with 0, commit, and go on from ``last`` until it is None. Every batch walks the
    same short way along the primary key, whatever the outbox holds and whichever way the
    clock has jumped. Recipients, attempts and actions go with their message.
    """
    last, seen = connection.execute(_SLICE, {"after": after, "limit": limit}).one()
    if not seen:
        return Pruned(0, 0, None)
    bounds = {"after": after, "last": last}
    gone = whole = 0
    if retention.messages_before is not None:
        bounds["before"] = retention.messages_before
        _wait_for_others(connection, _KEPT_MESSAGES, bounds)
        whole = connection.execute(_MESSAGES, bounds).rowcount
    if retention.contents_before is not None:
        bounds["before"] = retention.contents_before
        _wait_for_others(connection, _KEPT_CONTENTS, bounds)
        gone = connection.execute(_CONTENTS, bounds).rowcount
    reach("before", "prune-commit")
    return Pruned(gone, whole, last if seen == limit else None)


def _wait_for_others(
    connection: Connection, statement: Select[int], bounds: dict[str, int]
) -> None:
    """Let nobody ask for a message again between the look whether it is old and its end.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(statement, bounds)


def preview(
    connection: Connection, retention: Retention, *, after: int = 0, limit: int = BATCH
) -> Pruned:
    """Return what `prune` would remove in the same batch, and remove nothing.

    Contents that would go with a whole message are counted with that message alone, as `prune`
    does.
    """
    last, seen = connection.execute(_SLICE, {"after": after, "limit": limit}).one()
    if not seen:
        return Pruned(0, 0, None)
    bounds = {"after": after, "last": last}
    whole = _older(connection, _OLD_MESSAGES, bounds, retention.messages_before)
    gone = _older(connection, _OLD_CONTENTS, bounds, retention.contents_before) - whole
    return Pruned(len(gone), len(whole), last if seen == limit else None)


def _older(
    connection: Connection, statement: Select[int], bounds: dict[str, int], before: int | None
) -> set[int]:
    if before is None:
        return set()
    return {*connection.scalars(statement, {**bounds, "before": before})}


def reclaim(connection: Connection, *, pages: int = PAGES) -> int:
    """Give up to ``pages`` free pages back to the file system; returns how many were given.

    A short transaction: commit and call it again for more. The file itself shrinks with the next
    checkpoint. Never VACUUM, which writes the whole file anew while everybody waits. Does nothing
    on other databases, nor in a file that was not created for it (see recipe.py).
    """
    if connection.dialect.name != "sqlite" or _ask(connection, "auto_vacuum") != _INCREMENTAL:
        return 0
    before = _ask(connection, "freelist_count")
    for _ in range(min(pages, before)):
        # One page at a time: Python's driver leaves a statement without columns after its
        # first step, in which SQLite frees one page.
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
    return before - _ask(connection, "freelist_count")


_INCREMENTAL = 2


def _ask(connection: Connection, pragma: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())


_slice = (
    select(messages.c.id)
    .where(messages.c.id > bindparam("after"))
    .order_by(messages.c.id)
    .limit(bindparam("limit", type_=messages.c.id.type))
    .subquery()
)
_SLICE = select(func.max(_slice.c.id), func.count())


def _over(message: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether ``message`` lies in the slice, and each of its recipients finished before.

    Asked by the statement that deletes, so that nobody can be released in between. Those who remain
    are found first and for the whole slice, which is no join and so no matter of statistics, see
    `among_found`.
    """
    columns = recipients.c
    remains = or_(columns.finished_at.is_(None), columns.finished_at >= bindparam("before"))
    remaining = select(columns.message_id).where(*_in_slice(columns.message_id), remains)
    return and_(*_in_slice(message), message.not_in(remaining.distinct()))


def _in_slice(message: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    return message > bindparam("after"), message <= bindparam("last")


_CONTENT_IS_OLD = _over(contents.c.message_id)
_MESSAGE_IS_OLD = and_(_over(messages.c.id), messages.c.enqueued_at < bindparam("before"))
_CONTENTS = delete(contents).where(_CONTENT_IS_OLD)
_MESSAGES = delete(messages).where(_MESSAGE_IS_OLD)


def _locked(old: Select[int]) -> Select[int]:
    """Return what locks the recipients of messages that look old, where somebody may be at them."""
    columns = recipients.c
    those = among_found(columns.message_id, old)
    return select(columns.id).where(those).order_by(columns.id).with_for_update()


_OLD_CONTENTS = select(contents.c.message_id).where(_CONTENT_IS_OLD)
_OLD_MESSAGES = select(messages.c.id).where(_MESSAGE_IS_OLD)
_KEPT_CONTENTS = _locked(_OLD_CONTENTS)
_KEPT_MESSAGES = _locked(_OLD_MESSAGES)
