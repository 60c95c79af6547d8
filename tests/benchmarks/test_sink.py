from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.ledger import Count, Ledger, WrongCount
from benchmarks.receiving import sink
from benchmarks.sink import GREETING, OK, Conversation

ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
CONTENT = b"Subject: x\r\n\r\nOne.\r\n..two\r\n.\r\n"
GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"


@contextlib.asynccontextmanager
async def serving(
    latency: float = 0.0,
) -> AsyncIterator[tuple[Ledger, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give the ledger of a sink in this loop, and a connection to it."""
    ledger = Ledger(lambda said: None, time.monotonic)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(ledger, latency), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield ledger, reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def test_a_group_is_answered_in_order_and_the_next_mail_may_ride_behind_the_dot() -> None:
    """Every command has its reply, in order, however many mails one write holds."""
    async with serving() as (ledger, reader, writer):
        writer.write(b"EHLO me\r\n" + ENVELOPE + CONTENT + ENVELOPE.replace(b"b@", b"c@") + CONTENT)
        writer.write(b"QUIT\r\n")
        said = await asyncio.wait_for(reader.read(), 10)
        assert said.startswith(GREETING + b"250-sink\r\n250-PIPELINING\r\n")
        mail = OK + OK + GO_AHEAD + OK
        assert said.endswith(b"250 8BITMIME\r\n" + mail + mail + b"221 2.0.0 Bye\r\n")
        assert [*ledger.arrived] == [b"b@example.net", b"c@example.net"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
async def test_it_does_not_matter_how_the_network_cuts_the_bytes(size: int) -> None:
    """Commands, contents and dots are found in pieces of any size."""
    conversation = Conversation(Ledger(lambda said: None, time.monotonic), 0.0)
    sent = ENVELOPE + CONTENT + ENVELOPE + b".\r\n" + b"NOOP\r\n"
    answered = b""
    for at in range(0, len(sent), size):
        data = conversation._held + sent[at : at + size]
        answered += conversation.read(data)
    mail = OK + OK + GO_AHEAD + OK
    assert answered == mail + mail + OK


async def test_data_without_a_recipient_is_refused() -> None:
    """What nobody is to get is not read as content."""
    conversation = Conversation(Ledger(lambda said: None, time.monotonic), 0.0)
    answered = conversation.read(b"MAIL FROM:<a@example.org>\r\nDATA\r\nNOOP\r\nWHAT\r\n")
    assert [line[:3] for line in answered.splitlines()] == [b"250", b"554", b"250", b"502"]


async def test_a_group_shares_one_delay() -> None:
    """Ten commands in one write wait once and not ten times; commands one by one each wait."""
    latency = 0.05
    async with serving(latency) as (_, reader, writer):
        await reader.readexactly(len(GREETING))
        began = time.monotonic()
        writer.write(b"NOOP\r\n" * 10)
        await asyncio.wait_for(reader.readexactly(len(OK) * 10), 10)
        group = time.monotonic() - began
        for _ in range(10):
            writer.write(b"NOOP\r\n")
            await asyncio.wait_for(reader.readexactly(len(OK)), 10)
        one_by_one = time.monotonic() - began - group
        # Timers are exact to about a millisecond, so bounds from below are safe.
        assert group > latency * 0.9
        assert one_by_one > latency * 10 * 0.9
        assert one_by_one > group


def test_a_recipient_that_comes_again_is_noticed() -> None:
    """Lost and doubled recipients each make the count wrong."""
    ledger = Ledger(lambda said: None, lambda: 0.0)
    ledger.take([b"a", b"b"])
    assert ledger.count().check(2).messages == 1
    with pytest.raises(WrongCount):
        ledger.count().check(3)
    ledger.take([b"a"])
    with pytest.raises(WrongCount):
        ledger.count().check(2)


def test_the_first_session_and_the_last_expected_recipient_are_told_once() -> None:
    """Whoever measures learns the two instants that matter, and nothing else."""
    told: list[object] = []
    ledger = Ledger(told.append, iter(range(100)).__next__)
    ledger.expect(2)
    ledger.session_begins()
    ledger.session_begins()
    for recipient in (b"a", b"b", b"c"):
        ledger.take([recipient])
    assert [event["event"] for event in told if isinstance(event, dict)] == ["first", "reached"]


def test_the_peak_begins_with_the_sessions_that_are_open() -> None:
    """A ledger that is cleared still knows how many sessions there are."""
    ledger = Ledger(lambda said: None, lambda: 0.0)
    ledger.session_begins()
    ledger.session_begins()
    ledger.session_ends()
    ledger.clear()
    assert ledger.count() == Count(0, 0, 0, sessions=0, peak_sessions=1)


def test_a_sink_is_a_process_that_counts(tmp_path: Path) -> None:
    """What is sent to the sink's port is in its count, with the instant of each mail."""
    import smtplib

    with sink(tmp_path) as at:
        at.expect(2)
        before = time.monotonic()
        with smtplib.SMTP("127.0.0.1", at.port) as session:
            for name in ("a", "b"):
                session.sendmail(
                    "x@example.org", [f"{name}@example.net"], b"Subject: x\r\n\r\n.\r\n"
                )
        assert at.first(timeout=10) >= before
        assert at.reached(timeout=10) >= before
        assert at.count().check(2).sessions == 1
        assert at.times().keys() == {"a@example.net", "b@example.net"}
