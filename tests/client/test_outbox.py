from __future__ import annotations

import asyncio
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from mailqueue import (
    AddressError,
    AsyncOutbox,
    ContentError,
    IdempotencyError,
    OnDoubt,
    OptionError,
    Outbox,
    OutboxError,
    Outgoing,
    Priority,
    SchemaMissingError,
    State,
    TooLate,
    UnknownMessageError,
)
from mailqueue.outbox.doorbell import Doorbell
from tests.client.parts import RAW, make_message, query
from tests.support.rows import NOW, SECOND, make_tables


@pytest.mark.parametrize("message", [make_message(), RAW])
async def test_enqueue(outbox: Any, url: str, message: Any) -> None:
    """A message or its bytes are stored and the receipt names them."""
    receipt = await outbox.enqueue(message)
    assert receipt.message_id == "<00000000000000000000000000000001@example.org>"
    assert not receipt.duplicate
    assert query(url, "SELECT id, sender, header_message_id FROM mailqueue_messages") == [
        (receipt.id, "sender@example.org", receipt.message_id)
    ]
    assert query(url, "SELECT message_id, address, state FROM mailqueue_recipients") == [
        (receipt.id, "anna@example.net", "queued")
    ]
    ((raw,),) = query(url, "SELECT raw FROM mailqueue_contents")
    assert raw.endswith(b"\r\n\r\nhello\r\n")


async def test_every_option(outbox: Any, path: Path) -> None:
    """Every keyword arrives where the daemon and people with SQL look for it."""
    await outbox.enqueue(
        RAW,
        sender="bounces+42@example.org",
        recipients=["a@example.net"],
        idempotency_key="order-42",
        send_at=datetime.fromtimestamp(NOW / SECOND, UTC) + timedelta(hours=1),
        expires_in=timedelta(hours=2),
        priority="high",
        relay="bulk",
        tags={"order": "42"},
        on_doubt="hold",
    )
    assert query(
        path,
        "SELECT sender, idempotency_key, send_at, expires_at, priority, relay, tags, on_doubt"
        " FROM mailqueue_messages",
    ) == [
        (
            "bounces+42@example.org",
            "order-42",
            NOW + 3600 * SECOND,
            NOW + 3 * 3600 * SECOND,
            Priority.HIGH,
            "bulk",
            '{"order": "42"}',
            OnDoubt.HOLD,
        )
    ]
    assert query(
        path, "SELECT address, due_at, expires_at, priority, relay FROM mailqueue_recipients"
    ) == [("a@example.net", NOW + 3600 * SECOND, NOW + 3 * 3600 * SECOND, Priority.HIGH, "bulk")]


async def test_unknown_keyword(outbox: Any) -> None:
    """A keyword that is misspelt is an error, and not ignored."""
    with pytest.raises(TypeError, match="expires_on"):
        await outbox.enqueue(RAW, expires_on=5)


async def test_null_sender(outbox: Any, url: str) -> None:
    """A bounce goes out with the null sender."""
    await outbox.enqueue(RAW, sender="")
    assert query(url, "SELECT sender FROM mailqueue_messages") == [("",)]


async def test_enqueue_many(outbox: Any, path: Path) -> None:
    """Messages, bytes and messages with options are stored in one go, receipts in their order."""
    receipts = await outbox.enqueue_many(
        [make_message(), RAW, Outgoing(RAW, recipients=["b@example.net"], relay="bulk")]
    )
    assert query(
        path, "SELECT message_id, address, relay FROM mailqueue_recipients ORDER BY id"
    ) == [
        (receipts[0].id, "anna@example.net", "default"),
        (receipts[1].id, "anna@example.net", "default"),
        (receipts[2].id, "b@example.net", "bulk"),
    ]
    assert len({receipt.message_id for receipt in receipts}) == 3


async def test_enqueue_many_from_a_generator(outbox: Any) -> None:
    """Any iterable will do, also an empty one."""
    assert len(await outbox.enqueue_many(RAW for _ in range(3))) == 3
    assert await outbox.enqueue_many([]) == []


async def test_enqueue_many_is_all_or_nothing(outbox: Any, url: str) -> None:
    """One bad message, and none is stored; a note on the error tells which it was."""
    await outbox.enqueue(RAW)
    with pytest.raises(AddressError) as error:
        await outbox.enqueue_many([RAW, Outgoing(RAW, recipients=["no address"]), RAW])
    assert error.value.__notes__ == ["in messages[1]; none of them was stored"]
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


@pytest.mark.parametrize("message", [RAW, make_message(), Outgoing(RAW)])
async def test_enqueue_many_of_one(outbox: Any, message: Any) -> None:
    """A single message where a list belongs is pointed out, and not taken apart."""
    with pytest.raises(TypeError, match="for one there is enqueue"):
        await outbox.enqueue_many(message)


async def test_same_key_again(outbox: Any, url: str) -> None:
    """The same key with the same message brings the first receipt again, marked as duplicate."""
    first = await outbox.enqueue(make_message(), idempotency_key="k")
    again = await outbox.enqueue(make_message(), idempotency_key="k")
    assert again.duplicate
    assert (again.id, again.message_id) == (first.id, first.message_id)
    assert query(url, "SELECT count(*) FROM mailqueue_recipients") == [(1,)]


@pytest.mark.parametrize(
    ("message", "wishes"),
    [
        (make_message("other\n"), {}),
        (make_message(), {"recipients": ["b@example.net"]}),
        (make_message(), {"sender": "b@example.org"}),
    ],
)
async def test_same_key_for_another_message(outbox: Any, message: Any, wishes: Any) -> None:
    """The same key for another content or envelope is an error that names the first message."""
    first = await outbox.enqueue(make_message(), idempotency_key="k")
    with pytest.raises(IdempotencyError) as error:
        await outbox.enqueue(message, idempotency_key="k", **wishes)
    assert error.value.message == first.id


async def test_same_key_twice_in_a_list(outbox: Any, url: str) -> None:
    """In one list, too, a key is good for one message; for two different ones it is an error."""
    once = Outgoing(RAW, idempotency_key="k")
    first, second = await outbox.enqueue_many([once, once])
    assert (second.id, second.duplicate) == (first.id, True)
    other = Outgoing(RAW, recipients=["b@example.net"], idempotency_key="l")
    with pytest.raises(OptionError, match="'l' is given to two different messages"):
        await outbox.enqueue_many([Outgoing(RAW, idempotency_key="l"), other])
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


async def test_status(outbox: Any) -> None:
    """The status tells of every recipient where it stands."""
    receipt = await outbox.enqueue(RAW, recipients=["a@x", "b@x"], tags={"order": "42"})
    status = await outbox.status(receipt.id)
    assert (status.id, status.message_id) == (receipt.id, receipt.message_id)
    assert status.tags == {"order": "42"}
    assert [(each.address, each.state) for each in status.recipients] == [
        ("a@x", State.QUEUED),
        ("b@x", State.QUEUED),
    ]
    assert not status.is_finished


async def test_cancel(outbox: Any, url: str) -> None:
    """A message that still waits is cancelled for everybody, by the producer, and stays so."""
    receipt = await outbox.enqueue(RAW, recipients=["a@x", "b@x"])
    for _ in range(2):
        cancellation = await outbox.cancel(receipt.id, reason="order withdrawn")
        assert cancellation.cancelled == ("a@x", "b@x")
        assert cancellation.is_complete
    assert (await outbox.status(receipt.id)).is_finished
    assert (
        query(url, "SELECT verb, actor, reason, to_state FROM mailqueue_actions")
        == [("cancel", "producer", "order withdrawn", "cancelled")] * 2
    )


@pytest.mark.parametrize("state", [State.SENDING, State.SENT, State.FAILED, State.EXPIRED])
async def test_cancel_too_late(outbox: Any, path: Path, state: State) -> None:
    """Who has been, or is just being, sent to is named as too late; the others are cancelled."""
    receipt = await outbox.enqueue(RAW, recipients=["a@x", "b@x"])
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE mailqueue_recipients SET state = ?, due_at = iif(?, NULL, due_at) "
            "WHERE address = 'a@x'",
            (str(state), state.is_final),
        )
    engine.dispose()
    cancellation = await outbox.cancel(receipt.id)
    assert cancellation.cancelled == ("b@x",)
    assert cancellation.too_late == (TooLate("a@x", state),)
    assert not cancellation.is_complete
    assert [each.state for each in (await outbox.status(receipt.id)).recipients] == [
        state,
        State.CANCELLED,
    ]


@pytest.mark.parametrize("number", [4711, 0, -1, 2**63, 10**30])
@pytest.mark.parametrize("verb", ["status", "cancel"])
async def test_unknown_message(outbox: Any, verb: str, number: int) -> None:
    """An id that is not there, whatever number it is, is an error of its own."""
    with pytest.raises(UnknownMessageError, match=f"no message {number}"):
        await getattr(outbox, verb)(number)


async def test_the_daemon_is_woken(outbox: Any, path: Path) -> None:
    """Whoever waits at the doorbell is woken when a message is committed."""
    woken = asyncio.Event()
    bell = Doorbell(path, "w1")
    bell.start(woken.set)
    try:
        await outbox.enqueue(RAW)
        await asyncio.wait_for(woken.wait(), 10)
    finally:
        bell.stop()


async def test_file_is_created(outbox: Any, path: Path) -> None:
    """A file that does not exist becomes an outbox at the first use, for its group to share."""
    assert not path.exists()
    with pytest.raises(UnknownMessageError):
        await outbox.status(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert query(path, "PRAGMA auto_vacuum") == [(2,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


async def test_empty_file_is_filled(outbox: Any, path: Path) -> None:
    """A file that is empty, as `mktemp` leaves one, becomes an outbox too."""
    path.touch()
    assert (await outbox.enqueue(RAW)).id == 1


async def test_relative_path(opening: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is meant from where the program was when it opened the outbox."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    outbox = opening("sqlite:///relative.db")
    monkeypatch.chdir(elsewhere)
    await outbox.enqueue(RAW)
    assert os.listdir(elsewhere) == []
    assert (tmp_path / "relative.db").exists()


async def test_own_tables_are_needed_among_others(opening: Any, url: str, path: Path) -> None:
    """In a database with other tables nothing is created unasked; `create` does it, repeatedly."""
    query(path, "CREATE TABLE orders (id INTEGER)")
    outbox = opening(url)
    with pytest.raises(SchemaMissingError, match="mailqueue db upgrade"):
        await outbox.enqueue(RAW)
    await outbox.create()
    await outbox.create()
    assert (await outbox.enqueue(RAW)).id == 1


async def test_closing(outbox: Any) -> None:
    """Closing twice is harmless, and a later use opens new connections."""
    await outbox.close()
    await outbox.enqueue(RAW)
    await outbox.close()
    await outbox.close()
    assert (await outbox.enqueue(RAW)).id == 2


async def test_context_managers(url: str) -> None:
    """Both outboxes close themselves at the end of a with block."""
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
    async with AsyncOutbox(url) as outbox_too:
        assert (await outbox_too.enqueue(RAW)).id == 2


async def test_an_engine_of_the_application(url: str) -> None:
    """An application's engine can be given, is used as it is, and is not closed."""
    engine = create_engine(url)
    with Outbox(engine) as outbox:
        assert outbox.enqueue(RAW).id == 1
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mailqueue_messages").scalar() == 1
    engine.dispose()
    async_engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    async with AsyncOutbox(async_engine) as outbox_too:
        assert (await outbox_too.enqueue(RAW)).id == 2
    await async_engine.dispose()


def test_the_wrong_engine(url: str) -> None:
    """An engine of the other kind is an error that names the right outbox."""
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    with pytest.raises(OutboxError, match="AsyncOutbox does"):
        Outbox(engine)  # type: ignore[arg-type]
    with pytest.raises(OutboxError, match="Outbox takes an Engine"):
        AsyncOutbox(create_engine(url))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "place", ["", "outbox.db", "sqlite://", "sqlite:///:memory:", "mysql://h/d"]
)
def test_bad_urls(place: str) -> None:
    """A URL that cannot be an outbox is refused when it is given, with the form expected."""
    with pytest.raises(OutboxError, match=r"sqlite:///relative/outbox\.db"):
        Outbox(place)


@pytest.mark.parametrize(
    ("message", "wishes"),
    [
        (RAW, {"recipients": ["a@x\r\nRCPT TO:<b@y>"]}),
        (RAW, {"recipients": []}),
        (RAW.replace(b"hello", b"hel\0lo", 1), {}),
        (RAW.replace(b"From: sender@example.org\r\n", b""), {}),
        (RAW.replace(b"Subject: ", b"Subject: a\rb"), {}),
        (RAW, {"send_at": datetime(2024, 1, 1)}),  # noqa: DTZ001
    ],
)
async def test_bad_input_loses_nothing(outbox: Any, url: str, message: Any, wishes: Any) -> None:
    """Bad input is refused before anything is written, and the outbox goes on working."""
    with pytest.raises((ContentError, OptionError)):
        await outbox.enqueue(message, **wishes)
    first = await outbox.enqueue(RAW)
    with pytest.raises((ContentError, OptionError)):
        await outbox.enqueue(message, **wishes)
    assert query(url, "SELECT id FROM mailqueue_messages") == [(first.id,)]


async def test_cancelled_caller(url: str, path: Path) -> None:
    """A caller that is cancelled leaves a whole message or none, and an outbox that works."""
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
        tasks = [asyncio.create_task(outbox.enqueue(RAW)) for _ in range(10)]
        for number, task in enumerate(tasks):
            for _ in range(5 * number):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await outbox.enqueue(RAW)
    assert query(
        path,
        "SELECT count(*) FROM mailqueue_messages WHERE id NOT IN"
        " (SELECT message_id FROM mailqueue_recipients) OR id NOT IN"
        " (SELECT message_id FROM mailqueue_contents)",
    ) == [(0,)]


def test_existing_outbox_is_used(url: str) -> None:
    """An outbox that is there is used, and nothing in it is created anew."""
    engine = create_engine(url)
    make_tables(engine)
    engine.dispose()
    with Outbox(url) as outbox:
        assert outbox.enqueue(RAW).id == 1
    with Outbox(url) as outbox:
        assert outbox.enqueue(RAW).id == 2
