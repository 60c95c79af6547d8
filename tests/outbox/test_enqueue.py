from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, create_engine, delete, select

from mailqueue.errors import IdempotencyError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority
from mailqueue.outbox.enqueue import BATCH_MESSAGES, BATCH_OCTETS, Draft, Options, enqueue
from mailqueue.outbox.tables import contents, messages, recipients
from tests.support.rows import NOW, SECOND

TABLES = (messages, contents, recipients)
CONTENT = Content(b"Subject: hello\r\n\r\nhello\r\n", "<1@example.org>")


def make_draft(*addresses: str, digest: bytes = b"1", **options: Any) -> Draft:
    """Return a draft for ``addresses``."""
    envelope = Envelope("sender@example.org", addresses or ("anna@example.net",))
    return Draft(envelope, CONTENT, digest, Options(**options))


def only_message(connection: Connection) -> Row[Any]:
    """Return the row of the one message that is there."""
    return connection.execute(select(messages)).one()


def test_what_is_stored(connection: Connection) -> None:
    """A message is stored with its envelope, its bytes and everything it asks of a relay."""
    content = Content(b"Subject: \xc3\xa4\r\n\r\n\xff\r\n", "<2@example.org>", True, True)
    draft = make_draft(
        "anna@example.net", "bert@example.net", relay="bulk", tags={"b": "ä", "a": ""}
    )
    (receipt,) = enqueue(connection, [replace(draft, content=content)], now=NOW)
    row = only_message(connection)
    assert (receipt.id, receipt.message_id, receipt.duplicate) == (row.id, "<2@example.org>", False)
    assert (row.sender, row.header_message_id) == ("sender@example.org", "<2@example.org>")
    assert (row.size, row.recipient_count) == (content.size, 2)
    assert (row.eight_bit, row.utf8_header) == (True, True)
    assert (row.enqueued_at, row.relay) == (NOW, "bulk")
    assert json.loads(row.tags) == {"a": "", "b": "ä"}
    assert connection.scalar(select(contents.c.raw)) == content.raw


def test_recipients_are_queued(connection: Connection) -> None:
    """Each recipient is one row, queued, due at once, in the order of the envelope."""
    enqueue(connection, [make_draft("b@example.net", "a@example.net")], now=NOW)
    rows = connection.execute(select(recipients).order_by(recipients.c.id)).all()
    assert [row.address for row in rows] == ["b@example.net", "a@example.net"]
    for row in rows:
        assert (row.state, row.due_at, row.lifetime_from) == (State.QUEUED, NOW, NOW)
        assert (row.attempts, row.doubts, row.lease) == (0, 0, 0)
        assert (row.worker, row.finished_at, row.expires_at) == (None, None, None)


@pytest.mark.parametrize(
    ("send_at", "starts_at"), [(None, NOW), (NOW + 60 * SECOND, NOW + 60 * SECOND), (1, NOW)]
)
def test_send_at(connection: Connection, send_at: int | None, starts_at: int) -> None:
    """Nothing is due before send_at, and the lifetime begins then; a time that is past is now."""
    enqueue(connection, [make_draft(send_at=send_at)], now=NOW)
    row = connection.execute(select(recipients)).one()
    assert (row.due_at, row.lifetime_from) == (starts_at, starts_at)
    assert only_message(connection).send_at == send_at


def test_options_reach_the_recipients(connection: Connection) -> None:
    """Relay, priority and deadline stand on each recipient, where the claim looks for them."""
    draft = make_draft(
        relay="bulk", priority=Priority.LOW, expires_at=NOW + SECOND, on_doubt=OnDoubt.HOLD
    )
    enqueue(connection, [draft], now=NOW)
    row = connection.execute(select(recipients)).one()
    assert (row.relay, row.priority, row.expires_at) == ("bulk", Priority.LOW, NOW + SECOND)
    assert only_message(connection).on_doubt == OnDoubt.HOLD


def test_same_key_same_message(connection: Connection) -> None:
    """A key that is known brings back the first receipt, and nothing is stored again."""
    (first,) = enqueue(connection, [make_draft(idempotency_key="k")], now=NOW)
    content = replace(CONTENT, message_id="<other@example.org>")
    (second,) = enqueue(
        connection, [replace(make_draft(idempotency_key="k"), content=content)], now=NOW + SECOND
    )
    assert second == replace(first, duplicate=True)
    assert only_message(connection).id == first.id


def test_same_key_other_message(connection: Connection) -> None:
    """A key that was used for something else is an error that names the message."""
    (first,) = enqueue(connection, [make_draft(idempotency_key="k")], now=NOW)
    with pytest.raises(
        IdempotencyError, match=f"'k' already belongs to message {first.id}"
    ) as error:
        enqueue(connection, [make_draft(idempotency_key="k", digest=b"2")], now=NOW)
    assert (error.value.key, error.value.message) == ("k", first.id)


def test_conflict_writes_nothing(connection: Connection) -> None:
    """A conflict anywhere in a long list is found before the first message of it is written."""
    enqueue(connection, [make_draft(idempotency_key="k")], now=NOW)
    drafts = [make_draft() for _ in range(BATCH_MESSAGES + 1)]
    with pytest.raises(IdempotencyError):
        enqueue(connection, [*drafts, make_draft(idempotency_key="k", digest=b"2")], now=NOW)
    assert only_message(connection).idempotency_key == "k"


@pytest.mark.parametrize("between", [0, BATCH_MESSAGES])
def test_same_key_twice_in_a_list(connection: Connection, between: int) -> None:
    """A key that occurs twice in one list is stored once, also when statements lie between."""
    fillers = [make_draft() for _ in range(between)]
    drafts = [make_draft(idempotency_key="k"), *fillers, make_draft(idempotency_key="k")]
    first, *_, last = enqueue(connection, drafts, now=NOW)
    assert last == replace(first, duplicate=True)
    assert len(connection.execute(select(messages.c.id)).all()) == 1 + between


def test_many_with_known_keys(connection: Connection) -> None:
    """More keys than a statement can take as parameters are looked up all the same."""
    drafts = [make_draft(idempotency_key=f"k{n}") for n in range(2 * BATCH_MESSAGES + 1)]
    first = enqueue(connection, drafts, now=NOW)
    again = enqueue(connection, drafts, now=NOW)
    assert again == [replace(receipt, duplicate=True) for receipt in first]


def test_messages_without_key_are_never_duplicates(connection: Connection) -> None:
    """The same message without a key is another message each time."""
    receipts = enqueue(connection, [make_draft(), make_draft()], now=NOW)
    assert [receipt.duplicate for receipt in receipts] == [False, False]
    assert receipts[0].id != receipts[1].id


def test_receipts_come_in_order(connection: Connection) -> None:
    """Receipts stand in the order of the drafts, however many statements it takes."""
    drafts = [
        replace(make_draft(), content=replace(CONTENT, message_id=f"<{n}@x>"))
        for n in range(BATCH_MESSAGES + 10)
    ]
    receipts = enqueue(connection, drafts, now=NOW)
    stored = connection.execute(select(messages.c.id, messages.c.header_message_id)).all()
    assert {(receipt.id, receipt.message_id) for receipt in receipts} == {
        tuple(row) for row in stored
    }
    assert [receipt.message_id for receipt in receipts] == [f"<{n}@x>" for n in range(len(drafts))]


def test_large_contents(connection: Connection) -> None:
    """Contents larger than one statement's worth each keep to their own message."""
    raws = [bytes([65 + n]) * (BATCH_OCTETS // 2 + 1) for n in range(3)]
    drafts = [replace(make_draft(), content=Content(raw, "<1@x>")) for raw in raws]
    receipts = enqueue(connection, drafts, now=NOW)
    rows = connection.execute(select(contents.c.message_id, contents.c.raw))
    stored = {row.message_id: row.raw for row in rows}
    assert [stored[receipt.id] for receipt in receipts] == raws


@pytest.mark.backend("sqlite")
def test_by_any_paramstyle_the_same_is_stored(engine: Engine) -> None:
    """Where the short way of SQLite cannot be gone, SQLAlchemy's own statements store the same."""
    drafts = [
        make_draft("a@x", "b@x", tags={"a": "b"}, idempotency_key="k"),
        make_draft(send_at=NOW + SECOND, priority=Priority.HIGH),
        make_draft(),
    ]
    found = []
    for paramstyle in ("qmark", "named"):
        other = create_engine(engine.url, paramstyle=paramstyle)
        with other.connect() as connection:
            receipts = enqueue(connection, drafts, now=NOW)
            rows = [connection.execute(select(each)).all() for each in TABLES]
            found.append((receipts, rows))
            connection.rollback()
        other.dispose()
    assert found[0] == found[1]
    assert [len(rows) for rows in found[0][1]] == [3, 3, 4]


def test_ids_go_on_where_others_were_deleted(connection: Connection) -> None:
    """No id is given twice, also in a list, whose ids are counted on from its first."""
    first, *_ = enqueue(connection, [make_draft()] * 3, now=NOW)
    connection.execute(delete(messages))
    again = enqueue(connection, [make_draft()] * 3, now=NOW)
    (last,) = enqueue(connection, [make_draft()], now=NOW)
    numbers = [receipt.id for receipt in (*again, last)]
    assert numbers == [first.id + offset for offset in (3, 4, 5, 6)]


def test_nothing(connection: Connection) -> None:
    """An empty list stores nothing and is no error."""
    assert enqueue(connection, [], now=NOW) == []


def test_rolled_back(engine: Engine, reader: Engine) -> None:
    """What is rolled back was never there."""
    with engine.connect() as connection:
        enqueue(connection, [make_draft()], now=NOW)
        connection.rollback()
    with reader.connect() as connection:
        for table in (messages, contents, recipients):
            assert connection.execute(select(table)).first() is None
