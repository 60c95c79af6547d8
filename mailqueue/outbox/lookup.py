"""The read side: how messages stand, which there are, and how many of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, literal_column, select

from mailqueue.errors import UnknownMessageError
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.tables import contents, messages, recipients


@dataclass(frozen=True, slots=True)
class LastReply:
    """What was last heard about a recipient; without a code where it was no SMTP reply."""

    at: int
    code: int | None
    enhanced: str | None
    text: str


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """How one recipient stands. Instants in epoch microseconds.

    ``attempts`` counts those that were charged, ``doubts`` how often the mail may have been sent
    unnoticed. ``due_at`` is the next attempt, or while ``worker`` holds it the end of the lease.
    """

    id: int
    address: str
    state: State
    relay: str
    attempts: int
    doubts: int
    due_at: int | None
    expires_at: int | None
    finished_at: int | None
    worker: str | None
    last: LastReply | None


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """How a message stands; ``message_id`` is its header's."""

    id: int
    message_id: str
    sender: str
    enqueued_at: int
    tags: Mapping[str, str]
    recipients: tuple[RecipientStatus, ...]

    @property
    def is_finished(self) -> bool:
        """Whether every recipient is in a final state."""
        return all(recipient.state.is_final for recipient in self.recipients)


@dataclass(frozen=True, slots=True)
class Listed:
    """One recipient in a listing, with what identifies its message; ``size`` in octets."""

    message: int
    message_id: str
    sender: str
    enqueued_at: int
    tags: Mapping[str, str]
    size: int
    recipient: RecipientStatus


def status(connection: Connection, message: int) -> MessageStatus:
    """Return how ``message`` stands, recipients in the order of the envelope.

    Raises `UnknownMessageError` where there is none of this id.
    """
    listed = [*map(_listed, connection.execute(_STATUS, {"message": message}))]
    if not listed:
        raise UnknownMessageError(message)
    first = listed[0]
    return MessageStatus(
        first.message,
        first.message_id,
        first.sender,
        first.enqueued_at,
        first.tags,
        tuple(one.recipient for one in listed),
    )


def find(connection: Connection, message_id: str) -> list[int]:
    """Return the ids of the messages whose Message-ID header is ``message_id``, oldest first."""
    column = messages.c.header_message_id
    return [*connection.scalars(select(messages.c.id).where(column == message_id).order_by("id"))]


def content(connection: Connection, message: int) -> bytes | None:
    """Return the bytes of ``message``, or None where they have been pruned."""
    raw = connection.scalar(select(contents.c.raw).where(contents.c.message_id == message))
    return None if raw is None else bytes(raw)


def listing(
    connection: Connection,
    *,
    states: Collection[State] = (),
    where: ColumnElement[bool] | None = None,
    limit: int = 100,
    after: int = 0,
) -> Iterator[Listed]:
    """Return up to ``limit`` recipients in ``states`` (none: any), oldest first.

    ``after`` is the id of the last recipient already seen; ids are never counted past, so
    a later page costs what the first one does. ``where`` narrows it (see filter.py).
    """
    # An expression is in no index. By its ids SQLite would look for the few that wait among
    # all that were ever sent.
    key = recipients.c.id + literal_column("0") if _are_unfinished(states) else recipients.c.id
    statement = _LISTED.where(key > after, *_among(states)).order_by(key).limit(limit)
    if where is not None:
        statement = statement.where(where)
    return map(_listed, connection.execute(statement).all())


def counts(connection: Connection, *, states: Collection[State] = ()) -> dict[State, int]:
    """Return how many recipients are in each of ``states`` (none: in every state).

    Counting the unfinished ones costs no more than there are; finished ones are walked all.
    """
    state = recipients.c.state
    statement = select(state, func.count()).where(*_among(states)).group_by(state)
    found = {State(name): number for name, number in connection.execute(statement)}
    return {wanted: found.get(wanted, 0) for wanted in states or State}


def oldest_due(connection: Connection, *, relay: str | None = None) -> int | None:
    """Return when the first recipient is or was due, or None where nobody waits.

    Those that are leased count with the end of their lease. Far in the past, it says that
    nobody works on the queue.
    """
    columns = recipients.c
    statement = select(func.min(columns.due_at)).where(columns.due_at.is_not(None))
    if relay is not None:
        statement = statement.where(columns.relay == relay)
    earliest: int | None = connection.scalar(statement)
    return earliest


RECIPIENT_COLUMNS: Final = (
    recipients.c.id.label("recipient_id"),
    recipients.c.address,
    recipients.c.state,
    recipients.c.relay,
    recipients.c.attempts,
    recipients.c.doubts,
    recipients.c.due_at,
    recipients.c.expires_at,
    recipients.c.finished_at,
    recipients.c.worker,
    recipients.c.last_at,
    recipients.c.last_code,
    recipients.c.last_enhanced,
    recipients.c.last_text,
)
_LISTED: Final = select(
    messages.c.id,
    messages.c.header_message_id,
    messages.c.sender,
    messages.c.enqueued_at,
    messages.c.tags,
    messages.c.size,
    *RECIPIENT_COLUMNS,
).join_from(recipients, messages)
_STATUS: Final = _LISTED.where(messages.c.id == bindparam("message")).order_by(recipients.c.id)


def _among(states: Collection[State]) -> list[ColumnElement[bool]]:
    if not states:
        return []
    conditions: list[ColumnElement[bool]] = [
        recipients.c.state.in_([str(state) for state in states])
    ]
    if _are_unfinished(states):
        # It follows from the states, but the index of the unfinished asks for it in words.
        conditions.append(recipients.c.finished_at.is_(None))
    return conditions


def _are_unfinished(states: Collection[State]) -> bool:
    return bool(states) and not any(state.is_final for state in states)


def _listed(row: Row[*tuple[Any, ...]]) -> Listed:
    return Listed(
        row.id,
        row.header_message_id,
        row.sender,
        row.enqueued_at,
        parse_tags(row.tags),
        row.size,
        recipient_status(row),
    )


def recipient_status(row: Row[*tuple[Any, ...]]) -> RecipientStatus:
    """Return what a row with the columns of a recipient says; its id is ``recipient_id``."""
    last = None
    if row.last_at is not None:
        last = LastReply(row.last_at, row.last_code, row.last_enhanced, row.last_text or "")
    return RecipientStatus(
        row.recipient_id,
        row.address,
        State(row.state),
        row.relay,
        row.attempts,
        row.doubts,
        row.due_at,
        row.expires_at,
        row.finished_at,
        row.worker,
        last,
    )


def parse_tags(text: str) -> dict[str, str]:
    """Return the tags of a message; none where somebody's SQL left something else there."""
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in tags.items()} if isinstance(tags, dict) else {}
