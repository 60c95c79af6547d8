"""Everything that is known of one message, from its enqueueing to the last reply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, bindparam, exists, select

from mailqueue.errors import UnknownMessageError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.outbox.lookup import (
    RECIPIENT_COLUMNS,
    RecipientStatus,
    parse_tags,
    recipient_status,
)
from mailqueue.outbox.relays import RelayRow
from mailqueue.outbox.tables import actions, attempts, contents, messages, recipients, relays


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recorded try, as the row has it. Instants in epoch microseconds."""

    number: int
    charged: bool
    started_at: int
    ended_at: int
    relay: str
    worker: str
    session: str
    peer: str
    tls: str
    stage: str
    command: str
    code: int | None
    enhanced: str | None
    text: str
    rcpt_reply: str | None
    verdict: str
    scope: str
    rule: str
    due_at: int | None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that an operator did."""

    at: int
    verb: str
    actor: str
    reason: str
    from_state: str
    to_state: str


@dataclass(frozen=True, slots=True)
class RecipientStory:
    """How a recipient stands and how it came to that, oldest first."""

    status: RecipientStatus
    attempts: tuple[Attempt, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A message with all that happened to it.

    ``message_id`` is its header's; ``has_content`` tells whether the bytes are still there;
    ``relays`` holds the rows of the relays that its recipients are for, by name.
    """

    id: int
    message_id: str
    sender: str
    size: int
    eight_bit: bool
    utf8_header: bool
    relay: str
    priority: int
    on_doubt: OnDoubt
    enqueued_at: int
    send_at: int | None
    expires_at: int | None
    tags: Mapping[str, str]
    idempotency_key: str | None
    has_content: bool
    recipients: tuple[RecipientStory, ...]
    relays: Mapping[str, RelayRow]


def story(connection: Connection, message: int) -> Story:
    """Return the story of ``message``, in five statements however long it is.

    Raises `UnknownMessageError` where there is none of this id.
    """
    row = connection.execute(_MESSAGE, {"message": message}).one_or_none()
    if row is None:
        raise UnknownMessageError(message)
    told = _recipients(connection, message)
    return _story(row, told, _relays(connection, {one.status.relay for one in told}))


def _recipients(connection: Connection, message: int) -> tuple[RecipientStory, ...]:
    tried = _by_recipient(connection, _ATTEMPTS, message)
    done = _by_recipient(connection, _ACTIONS, message)
    return tuple(
        RecipientStory(
            recipient_status(row),
            tuple(map(_attempt, tried[row.recipient_id])),
            tuple(Action(*values) for values in done[row.recipient_id]),
        )
        for row in connection.execute(_RECIPIENTS, {"message": message})
    )


def _by_recipient(
    connection: Connection, statement: Select[*tuple[Any, ...]], message: int
) -> defaultdict[int, list[list[Any]]]:
    found: defaultdict[int, list[list[Any]]] = defaultdict(list)
    for recipient, *values in connection.execute(statement, {"message": message}):
        found[recipient].append(values)
    return found


def _attempt(values: list[Any]) -> Attempt:
    number, charged, *others = values
    return Attempt(number, bool(charged), *others)  # SQLite has no booleans


def _relays(connection: Connection, names: Collection[str]) -> dict[str, RelayRow]:
    rows = connection.execute(_RELAYS, {"names": [*names]})
    return {row.name: RelayRow(*row) for row in rows}


def _story(
    row: Row[*tuple[Any, ...]],
    told: tuple[RecipientStory, ...],
    rows: Mapping[str, RelayRow],
) -> Story:
    return Story(
        id=row.id,
        message_id=row.header_message_id,
        sender=row.sender,
        size=row.size,
        eight_bit=bool(row.eight_bit),
        utf8_header=bool(row.utf8_header),
        relay=row.relay,
        priority=row.priority,
        on_doubt=OnDoubt(row.on_doubt),
        enqueued_at=row.enqueued_at,
        send_at=row.send_at,
        expires_at=row.expires_at,
        tags=parse_tags(row.tags),
        idempotency_key=row.idempotency_key,
        has_content=bool(row.has_content),
        recipients=told,
        relays=rows,
    )


def _columns(table: Table, kind: type[Any]) -> list[Any]:
    return [table.c[field.name] for field in fields(kind)]


def _of_message(table: Table, kind: type[Any]) -> Select[*tuple[Any, ...]]:
    return (
        select(table.c.recipient_id, *_columns(table, kind))
        .join_from(table, recipients)
        .where(recipients.c.message_id == bindparam("message"))
        .order_by(table.c.id)
    )


_MESSAGE: Final = select(
    messages, exists().where(contents.c.message_id == messages.c.id).label("has_content")
).where(messages.c.id == bindparam("message"))
_RECIPIENTS: Final = (
    select(*RECIPIENT_COLUMNS)
    .where(recipients.c.message_id == bindparam("message"))
    .order_by(recipients.c.id)
)
_ATTEMPTS: Final = _of_message(attempts, Attempt)
_ACTIONS: Final = _of_message(actions, Action)
_RELAYS: Final = select(*_columns(relays, RelayRow)).where(
    relays.c.name.in_(bindparam("names", expanding=True))
)
