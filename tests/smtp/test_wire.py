from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiosmtplib.protocol import SMTPProtocol

from mailqueue.mail.reply import NoReply, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.smtp.wire import Wire
from tests.smtp.parts import code_of, kind_of

DOT = b"\r\n.\r\n"
MORE_THAN_BUFFERS_HOLD = b"x" * 8 * 1024 * 1024


@dataclass
class Line:
    """A wire on one end of a socket, and the bare other end."""

    wire: Wire
    far: socket.socket

    async def say(self, data: bytes) -> None:
        """Send from the far end."""
        await asyncio.get_running_loop().sock_sendall(self.far, data)

    async def take(self, octets: int) -> None:
        """Read so much at the far end."""
        while octets > 0:
            octets -= len(await asyncio.get_running_loop().sock_recv(self.far, octets))

    async def all_that_comes(self) -> bytes:
        """Read at the far end until the wire's end is closed."""
        received = bytearray()
        while data := await asyncio.get_running_loop().sock_recv(self.far, 1024 * 1024):
            received += data
        return bytes(received)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A wire to somebody who neither reads nor says anything unless the test does."""
    near, far = socket.socketpair()
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(SMTPProtocol, sock=near)
    yield Line(Wire(protocol), far)
    transport.abort()
    far.close()


async def test_a_dot_that_never_left_was_not_written(line: Line) -> None:
    """Cut while the dot is still in our own buffer, it has not been written and leaves no doubt."""
    finishing = asyncio.create_task(
        line.wire.finish(MORE_THAN_BUFFERS_HOLD + DOT, timeout=60),
    )
    await asyncio.sleep(0)
    assert line.wire.dot_written, "until it is known better"
    line.wire.abort()
    assert not line.wire.dot_written
    evidence = await finishing
    assert (evidence.stage, kind_of(evidence)) == (Stage.DATA, NoReplyKind.LOST)
    assert not (await line.all_that_comes()).endswith(DOT)


async def test_a_dot_that_cannot_leave_in_time(line: Line) -> None:
    """The same where the time for the reply runs out: nothing was accepted."""
    evidence = await line.wire.finish(MORE_THAN_BUFFERS_HOLD + DOT, timeout=0.1)
    assert (evidence.stage, kind_of(evidence)) == (Stage.DATA, NoReplyKind.TIMEOUT)
    assert not line.wire.dot_written
    assert not (await line.all_that_comes()).endswith(DOT)


async def test_a_dot_that_left_was_written(line: Line) -> None:
    """Once the operating system has the dot nobody can call it back."""
    evidence = await line.wire.finish(b"x" + DOT, timeout=0.1)
    assert (evidence.stage, kind_of(evidence)) == (Stage.END_OF_DATA, NoReplyKind.TIMEOUT)
    assert line.wire.dot_written
    line.wire.abort()
    assert line.wire.dot_written
    assert (await line.all_that_comes()).endswith(DOT)


async def test_no_dot_on_a_lost_connection(line: Line) -> None:
    """On a connection that is known to be lost the dot is not even tried."""
    line.far.close()
    assert await line.wire.push(b"x", timeout=5) is None
    heard = await line.wire.push(b"x", timeout=5)
    evidence = await line.wire.finish(DOT, timeout=5)
    assert heard is None or heard == evidence.answer
    assert (evidence.stage, kind_of(evidence)) == (Stage.DATA, NoReplyKind.LOST)
    assert not line.wire.dot_written


async def test_no_command_after_an_unasked_reply(line: Line) -> None:
    """What nobody asked for ends the wire before it can pass for the answer to a command."""
    await line.say(b"250 unasked\r\n")
    assert await line.all_that_comes() == b"", "cut from this side"
    assert not line.wire.is_open
    evidence = await line.wire.ask(Stage.MAIL, "MAIL FROM:<>", timeout=5)
    assert kind_of(evidence) is NoReplyKind.MALFORMED
    assert "250 unasked" in str(evidence.answer)
    assert evidence.command == "", "it was not sent"


async def test_an_unasked_421_is_the_answer(line: Line) -> None:
    """The one reply that may come unasked answers the next command, which is not sent."""
    await line.say(b"421-4.3.2 closing\r\n421 4.3.2 now\r\n")
    assert await line.all_that_comes() == b""
    evidence = await line.wire.ask(Stage.MAIL, "MAIL FROM:<>", timeout=5)
    assert code_of(evidence) == 421


async def test_the_rest_of_a_begun_reply_is_awaited(line: Line) -> None:
    """A relay that has begun to speak is heard out before more is written."""
    line.wire.listen(len(MORE_THAN_BUFFERS_HOLD))
    pushing = asyncio.create_task(line.wire.push(MORE_THAN_BUFFERS_HOLD, timeout=10))
    await line.say(b"552 5.3.4 too")
    await line.take(len(MORE_THAN_BUFFERS_HOLD))
    assert not pushing.done()
    await line.say(b" big\r\n")
    assert str(await pushing) == "552 5.3.4 too big"


async def test_a_begun_reply_that_does_not_end(line: Line) -> None:
    """Not for longer than a block may take, though."""
    line.wire.listen(len(MORE_THAN_BUFFERS_HOLD))
    pushing = asyncio.create_task(line.wire.push(MORE_THAN_BUFFERS_HOLD, timeout=0.5))
    await line.say(b"552 5.3.4 too")
    await line.take(len(MORE_THAN_BUFFERS_HOLD))
    heard = await pushing
    assert isinstance(heard, NoReply)
    assert heard.kind is NoReplyKind.TIMEOUT
    assert not line.wire.is_open


async def test_commands_cannot_be_injected(line: Line) -> None:
    """The library is asked to refuse control characters, and it still does."""
    with pytest.raises(ValueError, match="control character"):
        await line.wire.ask(Stage.MAIL, "MAIL FROM:<>\r\nRCPT TO:<evil@example.net>", timeout=5)
    line.wire.abort()
    assert await line.all_that_comes() == b""
