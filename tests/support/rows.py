"""Rows written straight into the tables, as if whatever a test begins with had happened.

Instants are epoch microseconds; ``NOW`` is the present of these rows and of a `FakeClock`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from mailqueue.mail.lifecycle import State
from mailqueue.outbox import schema
from mailqueue.outbox.location import database_path
from mailqueue.outbox.tables import actions, attempts, contents, messages, recipients, relays

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND

CONTENT = b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nhello\r\n"


def add_message(
    connection: Connection,
    /,
    *addresses: str,
    raw: bytes | None = CONTENT,
    recipient: dict[str, Any] | None = None,
    **columns: Any,
) -> int:
    """Insert a message for ``addresses``, all with the columns ``recipient``; returns its id.

    Without ``raw`` it has no content, as if it had been pruned.
    """
    names = addresses or ("anna@example.net",)
    values = {
        "enqueued_at": NOW,
        "header_message_id": "<1@example.org>",
        "sender": "sender@example.org",
        "size": len(raw or b""),
        "recipient_count": len(names),
        "eight_bit": False,
        "utf8_header": False,
        "relay": "default",
        "priority": 1,
        "on_doubt": "retry",
    } | columns
    message = _inserted(connection, messages, values)
    if raw is not None:
        connection.execute(insert(contents).values(message_id=message, raw=raw))
    defaults = {"relay": values["relay"], "priority": values["priority"]} | (recipient or {})
    for address in names:
        add_recipient(connection, message, address, **defaults)
    return message


def add_recipient(
    connection: Connection, message: int, address: str = "anna@example.net", **columns: Any
) -> int:
    """Insert a recipient; its due and its finishing time follow its state unless given."""
    state = State(columns.get("state", State.QUEUED))
    waits = state in (State.QUEUED, State.DEFERRED, State.SENDING)
    values = {
        "message_id": message,
        "address": address,
        "state": str(state),
        "relay": "default",
        "priority": 1,
        "due_at": NOW if waits else None,
        "lifetime_from": NOW,
        "finished_at": NOW if state.is_final else None,
    } | columns
    return _inserted(connection, recipients, values | {"state": str(state)})


def add_attempt(connection: Connection, recipient: int, **columns: Any) -> int:
    """Insert an attempt, by default one deferred by a 4xx to RCPT."""
    values = {
        "recipient_id": recipient,
        "number": 1,
        "charged": True,
        "started_at": NOW - SECOND,
        "ended_at": NOW,
        "relay": "default",
        "worker": "w1",
        "stage": "rcpt",
        "code": 450,
        "enhanced": "4.2.1",
        "text": "<anna@example.net>: try later, id 4XyZ9",
        "reason": "<address>: try later, id #",
        "verdict": "defer",
        "scope": "recipient",
        "rule": "recipient-4xx",
    } | columns
    return _inserted(connection, attempts, values)


def add_action(connection: Connection, recipient: int, **columns: Any) -> int:
    """Insert what an operator did, by default a hold."""
    values = {
        "recipient_id": recipient,
        "at": NOW,
        "verb": "hold",
        "actor": "olga",
        "reason": "asked by the customer",
        "from_state": "queued",
        "to_state": "held",
    } | columns
    return _inserted(connection, actions, values)


def add_relay(connection: Connection, name: str = "default", **columns: Any) -> None:
    """Insert the row of a relay, by default one in order."""
    values = {"name": name, "breaker": "closed", "since": NOW} | columns
    connection.execute(insert(relays).values(**values))


def recipient_ids(connection: Connection, message: int) -> list[int]:
    """Return the ids of the recipients of ``message``, in the order of the envelope."""
    column = recipients.c.id
    query = column.table.select().where(recipients.c.message_id == message).order_by(column)
    return [row.id for row in connection.execute(query)]


def _inserted(connection: Connection, table: Any, values: dict[str, Any]) -> int:
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def make_tables(engine: Engine) -> None:
    """See that there are tables: those that a fixture has made, or new ones."""
    if database_path(engine.url) is not None and (database_path(engine.url) or Path()).exists():
        with engine.connect() as connection:
            if schema.current(connection) is not None:
                return
    elif engine.dialect.name != "sqlite":
        return
    schema.create(engine)


def has_written(connection: Connection) -> Callable[[], bool]:
    """Return what tells whether anything was written over ``connection`` from now on.

    In PostgreSQL, in its present transaction, which is to be a new one.
    """
    if connection.dialect.name == "postgresql":
        written = select(func.pg_current_xact_id_if_assigned().is_not(None))
        return lambda: bool(connection.scalar(written))
    changes = select(func.total_changes())
    before = connection.scalar(changes)
    return lambda: bool(connection.scalar(changes) != before)
