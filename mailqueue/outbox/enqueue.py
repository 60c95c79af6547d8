"""Messages into the outbox, in whatever transaction the connection is in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, select

from mailqueue.errors import IdempotencyError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority
from mailqueue.outbox.tables import DEFAULT_RELAY, contents, messages, recipients

BATCH_OCTETS = 8 * 1024 * 1024
"""Contents are inserted in groups of about this size: a statement is held in memory whole."""
BATCH_MESSAGES = 500


@dataclass(frozen=True, slots=True)
class Options:
    """How a message wants to be treated. Instants in epoch microseconds."""

    relay: str = DEFAULT_RELAY
    priority: Priority = Priority.NORMAL
    on_doubt: OnDoubt = OnDoubt.RETRY
    send_at: int | None = None
    expires_at: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked message, ready to be stored. ``digest`` identifies what it says and to whom."""

    envelope: Envelope
    content: Content
    digest: bytes
    options: Options


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the producer gets back.

    ``id`` is the message's number in this outbox; ``message_id`` its Message-ID header;
    ``duplicate``: the idempotency key was known, and this is the receipt of the first time.
    """

    id: int
    message_id: str
    duplicate: bool = False


def enqueue(connection: Connection, drafts: Sequence[Draft], *, now: int) -> list[Receipt]:
    """Store ``drafts`` and return a receipt for each, in their order.

    The caller's transaction decides when they become visible to a daemon. Raises
    `IdempotencyError` where a key was used before for something else; nothing is written then.
    """
    known = _known(connection, drafts)
    for draft in drafts:
        _check_known(draft, known)
    receipts: list[Receipt] = []
    iterator = iter(drafts)
    while batch := _batch(iterator):
        receipts.extend(_enqueue_batch(connection, batch, known, now))
    return receipts


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    header_message_id: str
    digest: bytes


def _known(connection: Connection, drafts: Sequence[Draft]) -> dict[str, _Known]:
    """Return what the outbox has under the drafts' keys. The write lock is held from here on."""
    keys = iter({key for draft in drafts if (key := draft.options.idempotency_key) is not None})
    columns = messages.c
    statement = select(
        columns.idempotency_key, columns.id, columns.header_message_id, columns.digest
    )
    known: dict[str, _Known] = {}
    while some := list(islice(keys, BATCH_MESSAGES)):
        rows = connection.execute(statement.where(columns.idempotency_key.in_(some)))
        known.update((row[0], _Known(*row[1:])) for row in rows)
    return known


def _check_known(draft: Draft, known: Mapping[str, _Known]) -> None:
    key = draft.options.idempotency_key
    if key is not None and key in known and known[key].digest != draft.digest:
        raise IdempotencyError(key, known[key].id)


def _batch(drafts: Iterable[Draft]) -> list[Draft]:
    batch: list[Draft] = []
    octets = 0
    for draft in islice(drafts, BATCH_MESSAGES):
        batch.append(draft)
        octets += draft.content.size
        if octets >= BATCH_OCTETS:
            break
    return batch


def _enqueue_batch(
    connection: Connection, batch: Sequence[Draft], known: dict[str, _Known], now: int
) -> list[Receipt]:
    fresh = list(_fresh(batch, known))
    ids = _insert_messages(connection, fresh, now)
    if fresh:
        connection.execute(
            insert(contents),
            [
                {"message_id": number, "raw": draft.content.raw}
                for number, draft in zip(ids, fresh, strict=True)
            ],
        )
        connection.execute(insert(recipients), _recipient_rows(ids, fresh, now))
    stored = {id(draft): number for number, draft in zip(ids, fresh, strict=True)}
    for number, draft in zip(ids, fresh, strict=True):
        if (key := draft.options.idempotency_key) is not None:
            known[key] = _Known(number, draft.content.message_id, draft.digest)
    return [_receipt(draft, stored, known) for draft in batch]


def _fresh(batch: Sequence[Draft], known: Mapping[str, _Known]) -> Iterable[Draft]:
    seen: set[str] = set()
    for draft in batch:
        key = draft.options.idempotency_key
        if key is not None:
            if key in known or key in seen:
                continue
            seen.add(key)
        yield draft


def _insert_messages(connection: Connection, fresh: Sequence[Draft], now: int) -> list[int]:
    if not fresh:
        return []
    rows = [_message_row(draft, now) for draft in fresh]
    if len(rows) == 1:
        result = connection.execute(insert(messages), rows[0])
        key = result.inserted_primary_key
        assert key is not None
        return [key[0]]
    statement = insert(messages).returning(messages.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def _message_row(draft: Draft, now: int) -> dict[str, Any]:
    options, content = draft.options, draft.content
    return {
        "enqueued_at": now,
        "header_message_id": content.message_id,
        "sender": draft.envelope.sender,
        "size": content.size,
        "recipient_count": len(draft.envelope.recipients),
        "eight_bit": content.eight_bit,
        "utf8_header": content.utf8_header,
        "relay": options.relay,
        "priority": int(options.priority),
        "on_doubt": str(options.on_doubt),
        "send_at": options.send_at,
        "expires_at": options.expires_at,
        "tags": json.dumps(dict(options.tags), ensure_ascii=False, sort_keys=True),
        "idempotency_key": options.idempotency_key,
        "digest": draft.digest if options.idempotency_key is not None else None,
    }


def _recipient_rows(ids: Sequence[int], fresh: Sequence[Draft], now: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, draft in zip(ids, fresh, strict=True):
        options = draft.options
        starts_at = max(now, options.send_at or now)
        common = {
            "message_id": number,
            "state": str(State.QUEUED),
            "relay": options.relay,
            "priority": int(options.priority),
            "due_at": starts_at,
            "lifetime_from": starts_at,
            "expires_at": options.expires_at,
        }
        rows.extend({**common, "address": address} for address in draft.envelope.recipients)
    return rows


def _receipt(draft: Draft, stored: Mapping[int, int], known: Mapping[str, _Known]) -> Receipt:
    if (number := stored.get(id(draft))) is not None:
        return Receipt(number, draft.content.message_id)
    _check_known(draft, known)
    key = draft.options.idempotency_key
    assert key is not None
    return Receipt(known[key].id, known[key].header_message_id, duplicate=True)
