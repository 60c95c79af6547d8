"""The relay's side of a connection: writing, at any pace and with any ending."""

import asyncio
import socket
import struct

from mailqueue.testing.action import Ending, Endless, Pace, Plan, Say, Step, Wait, WaitFor
from mailqueue.testing.record import SessionRecord

_LINGER_NOT = struct.pack("ii", 1, 0)  # closing then sends RST instead of FIN
_LINES_AT_ONCE = 64


class Wire:
    """Plays plans on a transport and knows when the other side has stopped reading.

    Attributes:
        transport: what is written to; TLS where there is TLS.
    """

    def __init__(self, transport: asyncio.Transport, record: SessionRecord) -> None:
        self.transport = transport
        self._bottom = transport  # under TLS the TCP transport is still needed for FIN and RST
        self._record = record
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def bottom(self) -> asyncio.Transport:
        """The TCP transport, beneath TLS if there is any."""
        return self._bottom

    def send(self, data: bytes) -> None:
        """Write at once."""
        if data and not self.transport.is_closing():
            self._record.said(data)
            self.transport.write(data)

    async def play(self, plan: Plan) -> bool:
        """Play the steps; return whether the conversation goes on after them."""
        for step in plan.steps:
            if self.transport.is_closing() or not await self._play_step(step, plan.pace):
                return False
        return not self.transport.is_closing()

    def end(self, ending: Ending) -> None:
        """Stop the conversation in this way."""
        self._record.noticed(ending.value)
        match ending:
            case Ending.CLOSE:
                self.transport.close()
            case Ending.RESET:
                self._reset()
            case Ending.HALF_CLOSE:
                self._bottom.write_eof()
            case Ending.SILENCE:
                pass

    def abort(self) -> None:
        """Drop the connection without flushing."""
        self._bottom.abort()

    def pause_writing(self) -> None:
        """Hold the pen: the client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._writable.set()

    async def _play_step(self, step: Step, pace: Pace | None) -> bool:
        match step:
            case Say(data):
                await self._say(data or b"", pace)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case WaitFor(event):
                await event.wait()
            case Endless(line):
                await self._say_for_ever(line, pace)
            case Ending():
                self.end(step)
                return False
        return True

    async def _say(self, data: bytes, pace: Pace | None) -> None:
        if pace is None:
            self.send(data)
            return
        for index, piece in enumerate(pace.pieces(data)):
            if index:
                await asyncio.sleep(pace.pause)
            self.send(piece)
            await self._writable.wait()

    async def _say_for_ever(self, line: bytes, pace: Pace | None) -> None:
        self._record.said(line)
        self._record.noticed("and so on without end")
        while not self.transport.is_closing():
            for piece in [line * _LINES_AT_ONCE] if pace is None else pace.pieces(line):
                self.transport.write(piece)
                await asyncio.sleep(pace.pause if pace else 0)
            await self._writable.wait()

    def _reset(self) -> None:
        sock = self._bottom.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._bottom.abort()
