from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from mailqueue import LimitError, Limits
from mailqueue.client.headroom import MEASURED_EVERY, Headroom
from mailqueue.client.limits import GIB, MIB
from mailqueue.clock import FakeClock
from mailqueue.outbox.engine import write_engine
from tests.client.parts import RAW, drafted, make_message, query
from tests.support.rows import add_message, make_tables


@pytest.fixture
def connection(url: str) -> Any:
    """A write transaction on an outbox with tables."""
    engine = write_engine(url)
    make_tables(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def counted(engine: Engine) -> list[str]:
    """Return a list to which every statement of ``engine`` is added from now on."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return statements


def test_defaults() -> None:
    """Without a word, a message has 25 MiB and 1000 recipients, and the queue 10 GiB."""
    assert Limits() == Limits(25 * MIB, 1000, 10 * GIB, 256 * MIB)


@pytest.mark.parametrize("value", [-1, 1.5, "1", True])
@pytest.mark.parametrize("name", ["message_size", "recipients", "queued_size", "free_disk"])
def test_what_is_no_limit(name: str, value: Any) -> None:
    """A limit is a whole number of at least zero, or None for no limit."""
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


async def test_thirty_megabytes(outbox: Any, url: str) -> None:
    """30 MB are refused, as message or as bytes, with the limit and the size; nothing is stored."""
    large = make_message("x" * 70 + "\n")
    large.add_attachment(b"\0" * 30_000_000, maintype="application", subtype="x")
    for message in (large, RAW + b"x" * 70 + b"\r\n" * 15_000_000):
        with pytest.raises(LimitError, match=r"octets and the limit is 26,214,400") as error:
            await outbox.enqueue(message)
        assert error.value.limit == 25 * MIB
        assert error.value.actual >= 30_000_000
    await outbox.enqueue(RAW)
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


async def test_size_is_that_on_the_wire(opening: Any, url: str) -> None:
    """A message is measured as it goes out: with CRLF, Message-ID and Date."""
    size = len(drafted(RAW).content.raw)
    await opening(url, Limits(message_size=size)).enqueue(RAW)
    with pytest.raises(LimitError) as error:
        await opening(url, Limits(message_size=size - 1)).enqueue(RAW)
    assert (error.value.limit, error.value.actual) == (size - 1, size)


async def test_recipients(opening: Any, url: str) -> None:
    """More recipients than the limit are refused; one named twice counts once."""
    outbox = opening(url, Limits(recipients=2))
    await outbox.enqueue(RAW, recipients=["a@x", "b@x", "a@X"])
    with pytest.raises(LimitError, match="3 recipients and the limit is 2"):
        await outbox.enqueue(RAW, recipients=["a@x", "b@x", "c@x"])


async def test_free_disk(opening: Any, url: str, path: Path) -> None:
    """Where less disk would stay free than the floor, nothing is stored; the text says how much."""
    await opening(url, Limits(free_disk=0)).enqueue(RAW)
    disk = os.statvfs(path.parent)
    floor = 2 * disk.f_blocks * disk.f_frsize
    with pytest.raises(LimitError, match=r"octets free, and .* must stay free") as error:
        await opening(url, Limits(free_disk=floor)).enqueue(RAW)
    assert error.value.limit == floor
    assert 0 < error.value.actual < floor
    assert query(path, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


async def test_queued_size(opening: Any, url: str, clock: FakeClock) -> None:
    """A producer that has run away is stopped, and goes on when mail has gone out."""
    outbox = opening(url, Limits(queued_size=1000))
    size = drafted(RAW).content.size
    receipts = [await outbox.enqueue(RAW) for _ in range(1000 // size)]
    with pytest.raises(LimitError, match=r"octets are queued already and the limit is 1,000"):
        await outbox.enqueue(RAW)
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(len(receipts),)]
    await outbox.cancel(receipts[0].id)
    clock.advance(MEASURED_EVERY)
    await outbox.enqueue(RAW)


async def test_a_list_counts_whole(opening: Any, url: str) -> None:
    """A list that would pass the limit is refused whole."""
    outbox = opening(url, Limits(queued_size=1000))
    await outbox.enqueue(RAW)
    with pytest.raises(LimitError):
        await outbox.enqueue_many([RAW] * 50)
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


async def test_no_limits(opening: Any, url: str) -> None:
    """None lifts a limit."""
    outbox = opening(url, Limits(None, None, None, None))
    await outbox.enqueue(RAW, recipients=[f"a{n}@x" for n in range(1001)])


def test_counting_is_rare(connection: Connection, path: Path) -> None:
    """Between two readings nothing is asked; far below the limit messages are never counted."""
    clock = FakeClock()
    headroom = Headroom(Limits(free_disk=None), clock)
    connection.begin()
    statements = counted(connection.engine)
    for _ in range(1000):
        headroom.admit(connection, 100, path)
    assert len(statements) == 1
    clock.advance(MEASURED_EVERY)
    headroom.admit(connection, 100, path)
    assert len(statements) == 2
    assert not any("mailqueue_" in statement for statement in statements)


def test_own_additions_count_at_once(connection: Connection, path: Path) -> None:
    """What this process adds counts before the next reading is taken."""
    headroom = Headroom(Limits(queued_size=10_000_000, free_disk=None), FakeClock())
    for _ in range(9):
        headroom.admit(connection, 1_000_000, path)
    add_message(connection, size=9_000_000)
    with pytest.raises(LimitError) as error:
        headroom.admit(connection, 2_000_000, path)
    assert error.value.actual == 9_000_000


def test_what_others_add_counts_at_the_next_reading(connection: Connection, path: Path) -> None:
    """What other processes add is seen within seconds."""
    clock = FakeClock()
    headroom = Headroom(Limits(queued_size=1000, free_disk=None), clock)
    headroom.admit(connection, 100, path)
    add_message(connection, size=950)
    headroom.admit(connection, 100, path)
    clock.advance(MEASURED_EVERY)
    with pytest.raises(LimitError):
        headroom.admit(connection, 100, path)


def test_what_was_refused_does_not_count(connection: Connection, path: Path) -> None:
    """A message that was refused leaves the room to a smaller one."""
    headroom = Headroom(Limits(queued_size=1000, free_disk=None), FakeClock())
    with pytest.raises(LimitError):
        headroom.admit(connection, 1001, path)
    headroom.admit(connection, 1000, path)


class SlowClock(FakeClock):
    """A clock on which asking the time twice takes a second."""

    def monotonic(self) -> float:
        """Return a second more each time."""
        self.advance(1)
        return super().monotonic()


def test_slow_counting_is_rarer(connection: Connection, path: Path) -> None:
    """Where counting takes a second, it is done once a minute or so, and not every five."""
    headroom = Headroom(Limits(queued_size=1000, free_disk=None), SlowClock())
    statements = counted(connection.engine)
    for _ in range(40):
        headroom.admit(connection, 1, path)
    assert sum("mailqueue_messages" in statement for statement in statements) == 1
