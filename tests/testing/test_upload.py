"""Faults while a body is on its way."""

import asyncio

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.testing.raw_client import RawClient, greeted, turn_the_loop


async def _upload(client: RawClient) -> None:
    for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
        await client.ask(line)
    await client.send(b"12345678\r\n" * 10 + b".\r\n")


@pytest.mark.parametrize("octets", [1, 50, 99, 103])
async def test_a_body_is_cut_off_where_told(
    relay: ScriptedRelay, script: Script, octets: int
) -> None:
    """The connection ends once so many octets were read; the message was never offered."""
    script.on("BODY").after(octets=octets).half_close()
    async with greeted(relay) as client:
        await _upload(client)
        expected = b"250 2.0.0 accepted as 1\r\n" if octets == 103 else b""
        async with asyncio.timeout(5):
            assert await client.reader.read(100) == expected
    assert len(relay.ledger.offered) == (octets == 103)


async def test_a_reply_in_the_middle(relay: ScriptedRelay, script: Script) -> None:
    """A reply during the body is one more; the dot gets its own."""
    script.on("BODY").after(octets=20).reply("552 5.3.4 too big")
    async with greeted(relay) as client:
        await _upload(client)
        assert await client.reply() == "552 5.3.4 too big"
        assert await client.code("NOOP") == "250"


async def test_several_marks_in_one_body(relay: ScriptedRelay, script: Script) -> None:
    """Every mark is its own cue, in order."""
    script.on("BODY").after(octets=70).reply("252 c")
    script.on("BODY").after(octets=5).reply("252 a")
    script.on("BODY").after(octets=6).delay(0.001).reply("252 b")
    async with greeted(relay) as client:
        await _upload(client)
        replies = [await client.reply() for _ in range(4)]
    assert replies == ["252 a", "252 b", "252 c", "250 2.0.0 accepted as 1"]


async def test_an_upload_that_stalls(relay: ScriptedRelay, script: Script) -> None:
    """A relay that stops reading lets the client's writes fill up, and notices its end."""
    script.on("BODY").silence()
    async with greeted(relay) as client:
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        client.writer.write(b"x" * 998 + b"\r\n")
        await relay.saw("BODY")
        client.writer.write((b"x" * 998 + b"\r\n") * 20_000)
        waiting = []
        for _ in range(2):
            await turn_the_loop(500)
            waiting.append(client.writer.transport.get_write_buffer_size())
        assert waiting[0] == waiting[1] > 1_000_000
    await relay.wait_sessions_closed()
    assert not relay.ledger.offered


async def test_an_upload_that_goes_on(relay: ScriptedRelay, script: Script) -> None:
    """A relay that held still reads the rest of the body when it is let go."""
    release = asyncio.Event()
    script.on("BODY").after(octets=1000).wait_for(release)
    content = (b"x" * 998 + b"\r\n") * 5000
    async with greeted(relay) as client:
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        client.writer.write(content + b".\r\n")
        await relay.saw("BODY")
        release.set()
        assert (await client.reply()).startswith("250")
    assert relay.ledger.accepted[0].content == content
