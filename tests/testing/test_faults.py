"""Every way to misbehave, seen from a socket."""

import asyncio
import socket
import struct

import pytest

from mailqueue.testing import FAULTS, Fault, Script, ScriptedRelay
from tests.testing.raw_client import RawClient, connect, greeted, turn_the_loop

# Command, and what a client has to say before it.
STAGES = {
    "CONNECT": [],
    "EHLO": [],
    "MAIL": ["EHLO c"],
    "RCPT": ["EHLO c", "MAIL FROM:<>"],
    "DATA": ["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example>"],
    ".": ["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"],
    "RSET": ["EHLO c", "MAIL FROM:<>"],
    "QUIT": ["EHLO c"],
}
LINES = {
    "CONNECT": "",
    "EHLO": "EHLO c\r\n",
    "MAIL": "MAIL FROM:<>\r\n",
    "RCPT": "RCPT TO:<a@b.example>\r\n",
    "DATA": "DATA\r\n",
    ".": ".\r\n",
    "RSET": "RSET\r\n",
    "QUIT": "QUIT\r\n",
}
# What arrives where a fault is a fixed text; the others have tests of their own.
SAID = {
    "2xx": b"250 2.0.0 ok\r\n",
    "bare-2xx": b"250\r\n",
    "odd-2xx": b"259 2.0.0 ok\r\n",
    "multiline-2xx": b"250-2.0.0 all is\r\n250 2.0.0 well\r\n",
    "3xx": b"354 go on\r\n",
    "4xx": b"451 4.3.0 try again later\r\n",
    "5xx": b"554 5.7.1 never\r\n",
    "multiline-5xx": b"554-5.7.1 never\r\n554 5.7.1 ever\r\n",
    "421": b"421 4.3.2 closing\r\n",
    "421-and-close": b"421 4.3.2 closing\r\n",
    "code-199": b"199 below\r\n",
    "code-600": b"600 above\r\n",
    "code-999": b"999 far above\r\n",
    "code-25": b"25 ok\r\n",
    "garbage": b"HTTP/1.1 400 Bad Request\r\n",
    "empty-line": b"\r\n",
    "8-bit": b"451 4.3.0 caf\xe9 \xff\x00\x1b[31m\r\n",
    "8-bit-garbage": bytes(range(128, 256)) + b"\r\n",
    "64-kb-line": b"451 4.3.0 " + b"x" * 65536 + b"\r\n",
    "64-kb-garbage": b"x" * 65536 + b"\r\n",
    "mixed-codes": b"250-2.0.0 yes\r\n550 5.0.0 no\r\n",
    "silence": b"",
    "half-a-reply": b"250-2.0.0 wai",
    "close": b"",
    "half-a-reply-and-close": b"250-2.0.0 wai",
    "half-close": b"",
}
ENDS = {"421-and-close", "close", "half-a-reply-and-close", "half-close", "reply-and-close"}


async def _reach(client: RawClient, stage: str) -> None:
    """Say all that comes before the stage, and then its command."""
    if stage != "CONNECT":
        await client.reply()
    for command in STAGES[stage]:
        await client.ask(command)
    await client.send(LINES[stage].encode())


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SAID], ids=str)
@pytest.mark.parametrize("stage", STAGES)
async def test_what_a_fault_says(
    relay: ScriptedRelay, script: Script, stage: str, fault: Fault
) -> None:
    """At every stage exactly the bytes of the fault arrive, and the end where it has one."""
    expected = SAID[fault.name]
    rule = fault.inflict(script.on(stage))
    async with connect(relay) as client:
        await _reach(client, stage)
        if fault.name in ENDS:
            assert await client.everything() == expected
        else:
            async with asyncio.timeout(5):
                assert await client.reader.readexactly(len(expected)) == expected
            await relay.until(lambda: rule.used == 1)
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "CONNECT"])
async def test_two_replies_in_one_segment(relay: ScriptedRelay, script: Script, stage: str) -> None:
    """What is added to a reply is read together with it."""
    script.on(stage).then(extra=b"421 4.3.2 closing\r\n")
    async with connect(relay) as client:
        await _reach(client, stage)
        usual, _, extra = (await client.reader.read(4096)).rstrip(b"\r\n").rpartition(b"\r\n")
    assert usual[:1] in b"23"
    assert extra == b"421 4.3.2 closing"


@pytest.mark.parametrize("stage", STAGES)
async def test_a_reply_in_single_bytes(relay: ScriptedRelay, script: Script, stage: str) -> None:
    """A reply split at every byte arrives in as many reads, or nearly so on a busy machine."""
    script.on(stage).split_every(1).reply("451 4.3.0 in very many small pieces")
    pieces: list[bytes] = []
    async with connect(relay) as client:
        await _reach(client, stage)
        async with asyncio.timeout(5):
            while not pieces or not pieces[-1].endswith(b"\n"):
                pieces.append(await client.reader.read(4096))
    assert b"".join(pieces) == b"451 4.3.0 in very many small pieces\r\n"
    assert len(pieces) > 20


async def test_a_reply_cut_at_one_place(relay: ScriptedRelay, script: Script) -> None:
    """For each byte of a reply, the reply arrives in two pieces cut there."""
    reply = b"250 2.0.0 ok\r\n"
    async with greeted(relay) as client:
        for cut in range(1, len(reply)):
            script.clear()
            script.on("NOOP").split_at(cut, pause=0.01)
            await client.send(b"NOOP\r\n")
            assert await client.reader.read(100) == reply[:cut]
            assert await client.reader.read(100) == reply[cut:]


async def test_a_drip_takes_its_time(relay: ScriptedRelay, script: Script) -> None:
    """A reply of 14 bytes at 200 a second takes 13 pauses of 5 ms."""
    script.on("NOOP").drip(bytes_per_second=200)
    async with greeted(relay) as client:
        begin = asyncio.get_running_loop().time()
        assert await client.ask("NOOP") == "250 2.0.0 ok"
        assert asyncio.get_running_loop().time() - begin > 0.06


async def test_a_reply_without_end(relay: ScriptedRelay, script: Script) -> None:
    """Lines come as long as the client reads, and the relay stores none of them meanwhile."""
    script.on("MAIL").endless("250-more")
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\n")
        async with asyncio.timeout(5):
            lines = await client.reader.readexactly(10 * 1024 * 1024)
        assert set(lines[: 10 * 1000].split(b"\r\n")) == {b"250-more", b""}
    await relay.wait_sessions_closed()


async def test_a_reply_without_end_waits_for_its_reader(
    relay: ScriptedRelay, script: Script
) -> None:
    """Towards a client that does not read, an endless reply stops growing."""
    script.on("CONNECT").endless("220-" + "x" * 1000)
    with socket.create_connection((relay.host, relay.port)):
        await relay.saw("CONNECT")
        await turn_the_loop(1000)  # some 60 MB, if nothing held it back
        (session,) = relay.sessions
        assert session._wire.transport.get_write_buffer_size() < 1_000_000


async def test_a_reset_is_one(relay: ScriptedRelay, script: Script) -> None:
    """The client learns of a reset as such, not as an end in good order."""
    script.on("MAIL").reset()
    script.on("RSET").as_usual().reset()
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\n")
        with pytest.raises(ConnectionResetError):
            await client.everything()
    async with greeted(relay) as client:
        await client.send(b"RSET\r\n")
        with pytest.raises(ConnectionResetError):
            await client.everything()


async def test_a_half_closed_session_still_hears(relay: ScriptedRelay, script: Script) -> None:
    """After a half-close the client can go on writing, and is not answered."""
    script.on("MAIL").half_close()
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\n")
        assert await client.everything() == b""
        await client.send(b"NOOP\r\n")
        assert relay.ledger.sessions[0].is_open
    await relay.wait_sessions_closed()
    assert relay.ledger.seen["NOOP"] == 0


async def test_a_silent_session_hears_nothing(relay: ScriptedRelay, script: Script) -> None:
    """After a silence later commands are not answered either, and the end is still noticed."""
    script.on("MAIL").silence()
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\nNOOP\r\n")
        await relay.saw("MAIL")
    await relay.wait_sessions_closed()
    assert relay.ledger.seen["NOOP"] == 0


async def test_a_reply_left_out(relay: ScriptedRelay, script: Script) -> None:
    """With an empty reply a command stays unanswered while the next one is served."""
    script.on("NOOP", occurrence=1).raw(b"")
    async with greeted(relay) as client:
        await client.send(b"NOOP\r\nVRFY x\r\n")
        assert (await client.reply()).startswith("252")


async def test_a_relay_held_in_place(relay: ScriptedRelay, script: Script) -> None:
    """`wait_for` holds the reply, and whatever was pipelined behind, until the test says so."""
    release = asyncio.Event()
    script.on(".").wait_for(release)
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\n")
        await relay.saw(".")
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        assert relay.ledger.seen["MAIL"] == 1
        assert len(relay.ledger) == 1, "a careful relay has the mail before it says so"
        release.set()
        assert (await client.reply()).startswith("250 2.0.0 accepted")
        assert await client.code("RSET") == "250"
        assert relay.ledger.seen["MAIL"] == 2


async def test_sessions_can_be_disturbed_from_outside(relay: ScriptedRelay) -> None:
    """A test may speak, hang up or reset in any open session, also an idle one."""
    async with greeted(relay) as first, greeted(relay) as second, greeted(relay) as third:
        one, two, three = relay.sessions
        one.send(b"421 4.4.2 idle too long\r\n")
        assert await first.reply() == "421 4.4.2 idle too long"
        two.close()
        assert await second.everything() == b""
        three.reset()
        with pytest.raises(ConnectionResetError):
            await third.everything()


def test_faults_know_where_they_make_sense() -> None:
    """There is no reply to come early before the greeting, and none at all in a body."""
    named = {fault.name: fault for fault in FAULTS}
    assert len(named) == len(FAULTS)
    assert not named["early"].suits("CONNECT")
    assert named["early"].suits("MAIL")
    assert named["reset"].suits("BODY")
    assert not named["2xx"].suits("TLS")
    assert set(SAID) <= set(named)


async def test_a_client_reset_is_recorded(relay: ScriptedRelay) -> None:
    """A connection that breaks tells how; one that ends in good order does not."""
    with socket.create_connection((relay.host, relay.port)) as rude:
        await relay.saw("CONNECT")
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await relay.wait_sessions_closed()
    async with greeted(relay) as client:
        await client.ask("QUIT")
    await relay.wait_sessions_closed()
    broken, sound = relay.ledger.sessions
    assert "ConnectionResetError" in (broken.lost or "")
    assert sound.lost is None
