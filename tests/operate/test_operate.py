from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from mailqueue.clock import FakeClock
from mailqueue.errors import (
    OutboxBusyError,
    SchemaMissingError,
    SchemaTooNewError,
    UnknownMessageError,
    UnknownRecipientError,
)
from mailqueue.mail.lifecycle import State
from mailqueue.operate import Operator, login_name
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.tables import actions, recipients
from tests.support.rows import NOW, add_message


@pytest.fixture
def operator(engine: Engine, url: str) -> Any:
    """Somebody named olga at the outbox."""
    with Operator(url, actor="olga", clock=FakeClock(NOW), busy_timeout=0.1) as operator:
        yield operator


def add(engine: Engine, *addresses: str, **columns: Any) -> int:
    """Put a message into the outbox."""
    with engine.begin() as connection:
        return add_message(connection, *addresses, **columns)


def states(engine: Engine) -> list[str]:
    """Return the states of all recipients."""
    with engine.connect() as connection:
        return [*connection.scalars(select(recipients.c.state).order_by(recipients.c.id))]


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("hold", State.QUEUED, State.HELD),
        ("release", State.HELD, State.QUEUED),
        ("cancel", State.DEFERRED, State.CANCELLED),
        ("retry", State.FAILED, State.QUEUED),
    ],
)
def test_verbs(engine: Engine, operator: Operator, verb: str, before: State, after: State) -> None:
    """Each verb does what it says, and puts the operator and the reason on record."""
    message = add(engine, recipient={"state": before})
    (act,) = getattr(operator, verb)(message, reason="the customer asked")
    assert (act.message, act.before, act.after) == (message, before, after)
    assert states(engine) == [after]
    with engine.connect() as connection:
        row = connection.execute(select(actions)).one()
    assert (row.verb, row.actor, row.reason, row.at) == (verb, "olga", "the customer asked", NOW)


def test_one_recipient(engine: Engine, operator: Operator) -> None:
    """One address of a message can be meant, and the others are left alone."""
    message = add(engine, "a@example.net", "b@example.net")
    acts = operator.cancel(message, recipient="b@Example.NET")
    assert [act.address for act in acts] == ["b@example.net"]
    assert states(engine) == [State.QUEUED, State.CANCELLED]


def test_left_alone(engine: Engine, operator: Operator) -> None:
    """Who is in a state that the verb does not fit is reported with the reason."""
    message = add(engine, recipient={"state": State.SENT})
    (act,) = operator.retry(message)
    assert act.after is None
    assert act.refused == "it is sent, and retry does not happen to a recipient in that state"


@pytest.mark.parametrize("number", [4711, -1, 2**63, 10**30])
def test_unknown_message(operator: Operator, number: int) -> None:
    """A number that no message has is an error."""
    with pytest.raises(UnknownMessageError):
        operator.cancel(number)


def test_unknown_recipient(engine: Engine, operator: Operator) -> None:
    """An address that the message does not go to is an error, and nothing happens."""
    message = add(engine)
    with pytest.raises(UnknownRecipientError, match=f"no message {message} to nobody@") as error:
        operator.cancel(message, recipient="nobody@example.net")
    assert isinstance(error.value, UnknownMessageError)
    assert states(engine) == [State.QUEUED]


async def test_the_daemon_is_woken(engine: Engine, operator: Operator, path: Path) -> None:
    """What an operator has decided is acted on at once."""
    message = add(engine, recipient={"state": State.HELD})
    woken = asyncio.Event()
    bell = Doorbell(path, "w1")
    bell.start(woken.set)
    try:
        operator.release(message)
        await asyncio.wait_for(woken.wait(), 10)
    finally:
        bell.stop()


def test_the_actor_is_whoever_is_logged_in(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, the login name stands on record; a user without one by number."""
    monkeypatch.setenv("LOGNAME", "nightshift")
    message = add(engine)
    Operator(engine).hold(message)
    with engine.connect() as connection:
        assert connection.scalar(select(actions.c.actor)) == "nightshift"
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert login_name().startswith("uid ")


def test_behind_sudo_is_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """That root decided would say nothing to who reads it later."""
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("SUDO_USER", "olga")
    assert login_name() == "olga"


def test_an_engine_of_the_application_is_not_closed(engine: Engine) -> None:
    """An engine that was given is left as it is when the operator has done."""
    message = add(engine)
    with Operator(engine, actor="olga") as operator:
        operator.hold(message)
        pool = engine.pool
    assert engine.pool is pool


def test_a_locked_database(engine: Engine, operator: Operator, path: Path) -> None:
    """Another's transaction that does not end is a retryable error."""
    message = add(engine)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutboxBusyError):
        operator.hold(message)
    other.close()
    operator.hold(message)


def test_no_outbox(tmp_path: Path) -> None:
    """An operator creates nothing where there is nothing."""
    path = tmp_path / "missing.db"
    with Operator(f"sqlite:///{path}", actor="olga") as operator, pytest.raises(SchemaMissingError):
        operator.hold(1)
    assert not path.exists()


def test_newer_tables(engine: Engine, operator: Operator) -> None:
    """Tables that a newer version made are not touched."""
    message = add(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE mailqueue_schema_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNewError):
        operator.cancel(message)
    assert states(engine) == [State.QUEUED]


def test_a_path_is_a_file(engine: Engine, path: Path) -> None:
    """The outbox may be named by the path object of its file."""
    number = add(engine)
    with Operator(path, actor="olga", clock=FakeClock(NOW)) as operator:
        operator.hold(number)
    assert states(engine) == ["held"]
