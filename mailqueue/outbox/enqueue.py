"""Messages into the outbox, in whatever transaction the connection is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection, select

from mailqueue.errors import IdempotencyError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.priority import Priority
from mailqueue.mail.value import value
from mailqueue.outbox.insertion import insert_drafts
from mailqueue.outbox.tables import DEFAULT_RELAY, messages

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


@value
class Draft:
    """A checked message, ready to be stored.

    ``digest`` identifies what it says and to whom; only one with an idempotency key needs it.
    """

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
    keyed = [draft for draft in drafts if draft.options.idempotency_key is not None]
    known = _known(connection, keyed) if keyed else {}
    for draft in keyed:
        _check_known(draft, known)
    receipts: list[Receipt] = []
    for batch in _batches(drafts):
        if keyed:
            receipts.extend(_enqueue_batch(connection, batch, known, now))
        else:
            receipts.extend(_insert(connection, batch, now))
    return receipts


def _insert(connection: Connection, fresh: Sequence[Draft], now: int) -> list[Receipt]:
    return [
        Receipt(number, draft.content.message_id)
        for number, draft in zip(insert_drafts(connection, fresh, now), fresh, strict=True)
    ]


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


def _batches(drafts: Sequence[Draft]) -> Iterable[Sequence[Draft]]:
    if len(drafts) == 1:
        yield drafts
        return
    iterator = iter(drafts)
    while batch := _batch(iterator):
        yield batch


def _batch(drafts: Iterable[Draft]) -> list[Draft]:
    batch: list[Draft] = []
    octets = 0
    for draft in islice(drafts, BATCH_MESSAGES):
        batch.append(draft)
        octets += len(draft.content.raw)
        if octets >= BATCH_OCTETS:
            break
    return batch


def _enqueue_batch(
    connection: Connection, batch: Sequence[Draft], known: dict[str, _Known], now: int
) -> list[Receipt]:
    fresh = _fresh(batch, known)
    drafts = [batch[position] for position in fresh]
    stored = _insert(connection, drafts, now) if drafts else []
    receipts = dict(zip(fresh, stored, strict=True))
    for draft, receipt in zip(drafts, stored, strict=True):
        if (key := draft.options.idempotency_key) is not None:
            known[key] = _Known(receipt.id, receipt.message_id, draft.digest)
    return [
        receipts.get(position) or _duplicate(draft, known) for position, draft in enumerate(batch)
    ]


def _fresh(batch: Sequence[Draft], known: Mapping[str, _Known]) -> list[int]:
    """Return where in ``batch`` those stand whose key is new, or who have none."""
    seen: set[str] = set()
    fresh: list[int] = []
    for position, draft in enumerate(batch):
        key = draft.options.idempotency_key
        if key is not None:
            if key in known or key in seen:
                continue
            seen.add(key)
        fresh.append(position)
    return fresh


def _duplicate(draft: Draft, known: Mapping[str, _Known]) -> Receipt:
    _check_known(draft, known)
    key = draft.options.idempotency_key
    assert key is not None
    return Receipt(known[key].id, known[key].header_message_id, duplicate=True)
