"""One connection to a relay: commands out, exactly one reply back for each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import cast

from aiosmtplib import SMTPResponse
from aiosmtplib.protocol import SMTPProtocol

from mailqueue.failpoint import reach
from mailqueue.mail.reply import Evidence, NoReply, Reply, printable
from mailqueue.mail.stage import Stage
from mailqueue.smtp.evidence import WIRE_ERRORS, no_reply
from mailqueue.smtp.tap import Tap
from mailqueue.smtp.transcript import Transcript

Heard = Reply | NoReply


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that is open and secured, as it is handed over.

    ``tap``: what has had it so far, and hears of its end. ``beneath``: the transport under TLS.
    """

    transport: asyncio.Transport
    tap: Tap
    beneath: tuple[asyncio.Transport, ...] = ()


class Wire:
    """Drives aiosmtplib's protocol one step at a time, below the calls that lose replies.

    After a timeout or an error the connection is aborted, not closed: closing would still
    send what is buffered, and with it perhaps the final dot. What a reply means for the
    session is for the caller to say.
    """

    def __init__(self, protocol: SMTPProtocol, transcript: Transcript | None = None) -> None:
        self.dot_written = False
        """Whether the final dot of the running transaction may have left this machine."""
        self.is_busy = False
        """Whether a transaction is under way."""
        self.was_used = False
        """Whether it has carried a message or lain idle: then the relay may have ended it."""
        self.holds_envelope = False
        """Whether the relay keeps an envelope that RSET must clear before the next MAIL."""
        self._protocol = protocol
        self._transcript = transcript
        self._beneath: tuple[asyncio.Transport, ...] = ()
        self._tap = self._tapped()

    @property
    def is_open(self) -> bool:
        """Whether another command may be sent."""
        return self._tap.last_word is None and not self._transport.is_closing()

    @property
    def peer(self) -> str:
        """The address and port at the other end."""
        host, port, *_ = self._transport.get_extra_info("peername") or ("", 0)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def tls(self) -> str:
        """The version of TLS in use, such as "TLSv1.3"; empty without TLS."""
        ssl_object: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return (ssl_object and ssl_object.version()) or ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The texts of the last reply's lines, printable, whatever their length."""
        return tuple(printable(line[4:].strip()) for line in self._tap.lines)

    async def ask(
        self, stage: Stage, command: str, *, timeout: float, hidden: tuple[str, ...] = ()
    ) -> Evidence:
        """Send one command and return what came back; ``timeout`` in seconds.

        What stands in ``hidden`` is shown to nobody, not even where the relay echoes it.
        A session that the relay has ended meanwhile answers with its last word, and the
        command is not sent.
        """
        if self._tap.last_word is not None:
            return Evidence(stage, self._tap.last_word)
        shown = _hide(command, hidden)
        self._show_sent(shown)
        line = command.encode()
        reach("before", stage)
        heard = await self._exchange(self._protocol.execute_command(line, timeout=timeout))
        reach("after", stage)
        return Evidence(stage, self._shown(heard, hidden), shown)

    async def start_tls(
        self, context: ssl.SSLContext, *, server_name: str, timeout: float
    ) -> Evidence:
        """Ask for TLS and shake hands (RFC 3207). A 220 in the evidence means that it is on."""
        self._show_sent("STARTTLS")
        self._tap.expect()
        reach("before", Stage.STARTTLS)
        try:
            async with asyncio.timeout(timeout):
                heard = await self._upgrade(context, server_name, timeout)
        except WIRE_ERRORS as error:
            reply = self._tap.reply
            refusal = reply if reply is not None and reply.code != 220 else None
            heard = refusal or self._broken(error)
            self.abort()
        reach("after", Stage.STARTTLS)
        return Evidence(Stage.STARTTLS, self._shown(heard), "STARTTLS")

    def listen(self, octets: int) -> None:
        """Expect a reply at any time from now on: content of so many octets is on its way."""
        self._show_sent(f"({octets} octets of content)")
        self._tap.expect()

    async def push(self, block: bytes, *, timeout: float) -> Heard | None:
        """Write a block of content and wait until the network has room for the next.

        Returns None to go on, or what the relay said in between.
        """
        try:
            self._protocol.write(block)
            async with asyncio.timeout(timeout):
                await self._tap.until_writable()
        except WIRE_ERRORS as error:
            return self._shown(self._broken(error))
        return await self.interruption(timeout=timeout)

    async def interruption(self, *, timeout: float) -> Heard | None:
        """Return what the relay has said to the content so far; None if it has not begun to."""
        try:
            async with asyncio.timeout(timeout):
                await self._tap.until_complete()
        except WIRE_ERRORS as error:
            return self._shown(self._broken(error))
        heard = self._tap.answer
        return heard and self._shown(heard)

    async def finish(self, block: bytes, *, timeout: float) -> Evidence:
        """Write the last block, which holds the final dot, and await the reply to it."""
        self._show_sent(".")
        reach("before", "dot")
        try:
            self._protocol.write(block)
        except WIRE_ERRORS as error:
            heard = self._broken(error)
        else:
            self.dot_written = True
            reach("after", "dot")
            heard = await self._exchange(self._protocol.read_response(timeout=timeout))
        reach("after", Stage.END_OF_DATA)
        stage = Stage.END_OF_DATA if self.dot_written else Stage.DATA
        return Evidence(stage, self._shown(heard), ".")

    def hand_over(self) -> Connection:
        """Return the connection for another protocol to take over; no command may follow here."""
        return Connection(self._transport, self._tap, self._beneath)

    def abort(self) -> None:
        """Cut the connection and throw away what was not sent yet.

        A dot that is thrown away with it was not written.
        """
        if self.dot_written and any(map(_holds_bytes, (self._transport, *self._beneath))):
            self.dot_written = False
        self._transport.abort()

    # Steps

    @property
    def _transport(self) -> asyncio.Transport:
        return self._tap.transport

    def _tapped(self) -> Tap:
        return Tap(cast("asyncio.Transport", self._protocol.transport), self._protocol)

    async def _exchange(self, reading: Awaitable[SMTPResponse]) -> Heard:
        self._tap.expect()
        try:
            response = await reading
        except WIRE_ERRORS as error:
            return self._broken(error)
        return self._tap.checked(response.code, response.message)

    async def _upgrade(self, context: ssl.SSLContext, name: str, timeout: float) -> Heard:
        plain = self._transport
        response = await self._protocol.start_tls(context, server_hostname=name, timeout=timeout)
        heard = self._tap.checked(response.code, response.message)
        self._beneath = (plain,)
        self._tap = self._tapped()
        return heard

    def _broken(self, error: Exception) -> Heard:
        heard = self._tap.last_word or no_reply(error)
        self.abort()
        return heard

    def _shown(self, heard: Heard, hidden: tuple[str, ...] = ()) -> Heard:
        if self._transcript is not None:
            self._transcript.received(_hide(self._wording(heard), hidden))
        return _concealed(heard, hidden) if hidden else heard

    def _wording(self, heard: Heard) -> str:
        if heard is self._tap.reply:
            return "\n".join(printable(line.strip()) for line in self._tap.lines)
        return str(heard)

    def _show_sent(self, line: str) -> None:
        if self._transcript is not None:
            self._transcript.sent(line)


def _holds_bytes(transport: asyncio.Transport) -> bool:
    # A transport that is closing has dropped its buffer already; nobody knows what was in it.
    return not transport.is_closing() and transport.get_write_buffer_size() > 0


def _concealed(heard: Heard, hidden: tuple[str, ...]) -> Heard:
    if isinstance(heard, Reply):
        return replace(heard, text=_hide(heard.text, hidden))
    return replace(heard, detail=_hide(heard.detail, hidden))


def _hide(text: str, hidden: tuple[str, ...]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text
