"""Whatever an outbox holds comes back from PostgreSQL as it went."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, text

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.fence import take_away
from mailqueue.outbox.tables import actions, attempts, contents, messages, recipients
from tests.copying.conftest import new_database
from tests.copying.places import copy, mail_of, opened
from tests.support.postgres import PostgresServer

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
IDS = st.integers(1, 2**62)
INSTANTS = st.integers(-(2**62), 2**62)
COUNTS = st.integers(0, 2**31 - 1)
CODES = st.none() | st.integers(-(2**15), 2**15 - 1)
FLAGS = st.booleans()
STATES = st.sampled_from([state for state in State if state is not State.SENDING])


def _several(row: dict[str, Any], *, most: int = 4) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries(row), max_size=most, unique_by=lambda one: one["id"])


MESSAGES = _several(
    {
        "id": IDS,
        "enqueued_at": INSTANTS,
        "header_message_id": WORDS,
        "sender": WORDS,
        "size": INSTANTS,
        "recipient_count": COUNTS,
        "eight_bit": FLAGS,
        "utf8_header": FLAGS,
        "relay": WORDS,
        "priority": st.sampled_from([0, 1, 2]),
        "on_doubt": st.sampled_from(["retry", "hold"]),
        "send_at": st.none() | INSTANTS,
        "expires_at": st.none() | INSTANTS,
        "tags": WORDS,
        "digest": st.none() | st.binary(max_size=40),
        # Taken out before it is stored: what belongs to the message.
        "raw": st.none() | st.binary(max_size=500),
        "recipients": _several(
            {
                "id": IDS,
                "address": WORDS,
                "state": STATES,
                "relay": WORDS,
                "priority": st.sampled_from([0, 1, 2]),
                "lifetime_from": INSTANTS,
                "expires_at": st.none() | INSTANTS,
                "attempts": COUNTS,
                "doubts": COUNTS,
                "lease": COUNTS,
                "worker": st.none() | WORDS,
                "dot_at": st.none() | INSTANTS,
                "last_at": st.none() | INSTANTS,
                "last_code": CODES,
                "last_enhanced": st.none() | WORDS,
                "last_text": st.none() | WORDS,
                "attempted": _several(
                    {
                        "id": IDS, "number": COUNTS, "charged": FLAGS, "started_at": INSTANTS,
                        "ended_at": INSTANTS, "relay": WORDS, "worker": WORDS, "stage": WORDS,
                        "text": WORDS, "code": CODES, "rcpt_reply": st.none() | WORDS,
                        "verdict": WORDS, "scope": WORDS, "rule": WORDS,
                    },
                    most=2,
                ),
                "decided": _several(
                    {
                        "id": IDS, "at": INSTANTS, "verb": WORDS, "actor": WORDS, "reason": WORDS,
                        "from_state": WORDS, "to_state": WORDS,
                    },
                    most=2,
                ),
            },
            most=3,
        ),
    }
)  # fmt: skip

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def between(server: PostgresServer) -> str:
    """One database for all examples; each leaves it empty."""
    return new_database(server, "between")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_messages=MESSAGES)
def test_any_outbox_comes_back_as_it_went(
    tmp_path: Path, between: str, given_messages: list[dict[str, Any]]
) -> None:
    """States, attempts, decisions, odd text, octets of any kind and huge ids."""
    number = next(_numbers)
    first = f"sqlite:///{tmp_path / f'first-{number}.db'}"
    last = f"sqlite:///{tmp_path / f'last-{number}.db'}"
    with opened(first, create=True) as engine, engine.begin() as connection:
        _store(connection, given_messages)
    before = mail_of(first)
    copy(first, between)
    assert mail_of(between) == before
    copy(between, last)
    assert mail_of(last) == before
    with opened(between) as engine, engine.begin() as connection:
        take_away(connection)
        connection.execute(text("TRUNCATE mailqueue_messages RESTART IDENTITY CASCADE"))


def _store(connection: Connection, given_messages: list[dict[str, Any]]) -> None:
    seen: dict[str, set[int]] = {}

    def is_new(kind: str, row: dict[str, Any]) -> bool:
        known = seen.setdefault(kind, set())
        is_known = row["id"] in known
        known.add(row["id"])
        return not is_known

    for position, message in enumerate(given_messages):
        row = dict(message)
        raw, theirs = row.pop("raw"), row.pop("recipients")
        key = f"key{position}" if position % 2 else None
        connection.execute(insert(messages).values(**row, idempotency_key=key))
        if raw is not None:
            connection.execute(insert(contents).values(message_id=row["id"], raw=raw))
        for recipient in theirs:
            if is_new("recipient", recipient):
                _store_recipient(connection, dict(recipient), row["id"], is_new)


def _store_recipient(
    connection: Connection, row: dict[str, Any], message: int, is_new: Any
) -> None:
    attempted, decided, state = row.pop("attempted"), row.pop("decided"), row.pop("state")
    waits = state in (State.QUEUED, State.DEFERRED)
    values = {"due_at": row["lifetime_from"] if waits else None, "state": str(state)}
    finished = {"finished_at": row["lifetime_from"] if state.is_final else None}
    connection.execute(insert(recipients).values(**row, **values, **finished, message_id=message))
    for table, kind, found in ((attempts, "attempt", attempted), (actions, "action", decided)):
        for one in found:
            if is_new(kind, one):
                connection.execute(insert(table).values(**one, recipient_id=row["id"]))
