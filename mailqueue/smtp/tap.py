"""The tap: reads along on the connection and guards the pairing of commands and replies."""

from __future__ import annotations

import asyncio

from mailqueue.mail.reply import (
    MalformedReplyError,
    NoReply,
    NoReplyKind,
    Reply,
    parse_reply,
    printable,
)
from mailqueue.smtp.evidence import no_reply

MAX_REPLY_OCTETS = 32_768
"""More than any EHLO needs; bounds the memory that a relay can claim by never ending a line."""


class Tap(asyncio.Protocol):
    """Stands between a transport and aiosmtplib's protocol and passes everything on.

    The library keeps a second reply of one segment for the next command, which can turn a
    refusal into a success, and drops what comes while nobody waits. The tap sees all bytes:
    exactly one well-formed reply may come for each `expect`. On anything else it ends the
    connection at once and keeps the reason in ``last_word``.
    """

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self.transport = transport
        self.reply: Reply | None = None
        """The reply to what was last asked, once it is complete."""
        self.lines: tuple[bytes, ...] = ()
        """The lines of that reply as they came."""
        self.last_word: Reply | NoReply | None = None
        """How the session ended by the relay's doing: a 421 unasked, or why it is no more."""
        self._protocol = protocol
        self._received = bytearray()
        self._is_expecting = False
        self._is_paused = False
        self._change: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    @property
    def answer(self) -> Reply | NoReply | None:
        """What has been heard since `expect`, if anything has."""
        return self.reply or self.last_word

    def expect(self) -> None:
        """Let one reply come from now on."""
        self.reply = None
        self._received.clear()
        self._is_expecting = True

    def checked(self, code: int, message: str) -> Reply | NoReply:
        """Return the reply, if the library has read the same one from the same bytes."""
        texts = (line[4:].strip(b" \t\r\n") for line in self.lines)
        if (
            self.reply is not None
            and self.reply.code == code
            and b"".join(texts) == message.encode("utf-8", "surrogateescape").replace(b"\n", b"")
        ):
            return self.reply
        return self.last_word or NoReply(
            NoReplyKind.MALFORMED, "a reply from before was taken for the one to this command"
        )

    async def until_writable(self) -> None:
        """Wait until the transport takes more, or something has been heard."""
        while self._is_paused and self.answer is None:
            await self._changed()

    async def until_complete(self) -> None:
        """Wait for the rest of a reply of which a part is here."""
        while self._received and self.answer is None:
            await self._changed()

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        """Check the bytes and pass them on."""
        if self.last_word is not None:
            return
        if not self._is_expecting:
            self._end(unasked(data))
            return
        self._received += data
        if len(self._received) > MAX_REPLY_OCTETS:
            # Also where all of it came at once: what it means must not depend on the segments.
            self._end(NoReply(NoReplyKind.MALFORMED, f"a reply of over {MAX_REPLY_OCTETS} octets"))
        elif b"\n" in data:
            self._read()
        if self.last_word is None:
            self._protocol.data_received(data)
        self._awake()

    def eof_received(self) -> bool:
        """End the connection: a relay that writes no more can answer no more."""
        self._protocol.eof_received()
        self._end(NoReply(NoReplyKind.LOST, "the relay closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep the reason and pass it on."""
        if self.last_word is None:
            self.last_word = no_reply(exc or ConnectionError("the connection was closed"))
        self._protocol.connection_lost(exc)
        self._awake()

    def pause_writing(self) -> None:
        """The transport holds as much as it wants to."""
        self._is_paused = True
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._is_paused = False
        self._protocol.resume_writing()
        self._awake()

    # Steps

    def _read(self) -> None:
        try:
            parsed = parse_reply(bytes(self._received))
        except MalformedReplyError as error:
            self._end(NoReply(NoReplyKind.MALFORMED, str(error)))
            return
        if parsed is None:
            return
        if parsed.rest:
            excess = printable(parsed.rest)[:200]
            self._end(NoReply(NoReplyKind.MALFORMED, f"{parsed.reply}, and behind it: {excess}"))
            return
        self.reply = parsed.reply
        self.lines = tuple(bytes(self._received).removesuffix(b"\n").split(b"\n"))
        self._received.clear()
        self._is_expecting = False

    def _end(self, last_word: Reply | NoReply) -> None:
        if self.last_word is None:
            self.last_word = last_word
        self.transport.abort()
        self._awake()

    async def _changed(self) -> None:
        self._change = asyncio.get_running_loop().create_future()
        await self._change

    def _awake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


def unasked(data: bytes) -> Reply | NoReply:
    """Tell a 421, which may come at any time (RFC 5321 section 3.8), from what may not."""
    try:
        parsed = parse_reply(data)
    except MalformedReplyError:
        parsed = None
    if parsed is not None and parsed.reply.code == 421 and not parsed.rest:
        return parsed.reply
    return NoReply(NoReplyKind.MALFORMED, f"unasked: {printable(data)[:200]}")
