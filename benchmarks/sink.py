"""The sink: an SMTP server that takes everything, after a delay, and counts it.

``python -m benchmarks.sink --latency 0.05`` prints its port, obeys one command a line on
standard input and answers in JSON on standard output (see `benchmarks.receiving`).

It keeps reading while its replies are on their way, so commands that were sent in one group
(RFC 2920) share one delay: a long path, and not a slow server. What it knows of SMTP is what the
senders measured here say.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, cast

from benchmarks.ledger import Ledger
from benchmarks.loops import runner

DOT: Final = b"\r\n.\r\n"
GREETING: Final = b"220 sink ESMTP\r\n"
OK: Final = b"250 2.0.0 Ok\r\n"
FEATURES: Final = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n"
GO_AHEAD: Final = b"354 End data with <CR><LF>.<CR><LF>\r\n"
NOBODY: Final = b"554 5.5.1 No valid recipients\r\n"
UNKNOWN: Final = b"502 5.5.2 Command not recognized\r\n"
BYE: Final = b"221 2.0.0 Bye\r\n"


class Conversation(asyncio.Protocol):
    """One session. ``latency``: seconds between what asks for a reply and the reply."""

    def __init__(self, ledger: Ledger, latency: float) -> None:
        self._ledger = ledger
        self._latency = latency
        self._held = b""
        self._in_content = False
        self._recipients: list[bytes] = []
        self._underway: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._ledger.session_begins()
        self._send(GREETING)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the session."""
        self._ledger.session_ends()

    def data_received(self, data: bytes) -> None:
        """Take in commands and content, and answer all that they ask for at once."""
        replies = self.read(self._held + data if self._held else data)
        if replies:
            self._send(replies)

    def read(self, data: bytes) -> bytes:
        """Return the replies to all that is complete in ``data``, and keep the rest."""
        replies: list[bytes] = []
        at = 0
        while at >= 0:
            take = self._take_content if self._in_content else self._take_command
            at = take(data, at, replies)
        return b"".join(replies)

    def _take_content(self, data: bytes, at: int, replies: list[bytes]) -> int:
        """Return where the content ends, or -1 while its dot is not there."""
        end = data.find(DOT, at)
        if end < 0:
            # The dot may come in pieces, and its first CRLF may be that of DATA.
            self._held = data[max(at, len(data) - len(DOT) + 1) :]
            return -1
        self._in_content = False
        self._ledger.take(self._recipients)
        self._recipients = []
        replies.append(OK)
        return end + len(DOT)

    def _take_command(self, data: bytes, at: int, replies: list[bytes]) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            self._held = data[at:]
            return -1
        replies.append(self._answer(data, at, end))
        # The CRLF of DATA is left in place: with a lone dot behind it the content is empty.
        return end if self._in_content else end + 2

    def _answer(self, data: bytes, start: int, end: int) -> bytes:
        verb = data[start : start + 4].upper()
        if verb == b"RCPT":
            self._recipients.append(_path(data, start, end))
            return OK
        if verb == b"DATA":
            self._in_content = bool(self._recipients)
            return GO_AHEAD if self._recipients else NOBODY
        if verb in {b"MAIL", b"RSET", b"HELO"}:
            self._recipients = []
            return OK
        return {b"EHLO": FEATURES, b"NOOP": OK, b"QUIT": BYE}.get(verb, UNKNOWN)

    def _send(self, replies: bytes) -> None:
        if not self._latency:
            self._write(replies)
            return
        self._underway.append(replies)
        self._loop.call_later(self._latency, self._arrive)

    def _arrive(self) -> None:
        # Taken from the front, so that two timers of one instant cannot swap their replies.
        self._write(self._underway.popleft())

    def _write(self, replies: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(replies)
        if replies.endswith(BYE):
            self._transport.close()


def _path(data: bytes, start: int, end: int) -> bytes:
    opened = data.find(b"<", start, end)
    closed = data.find(b">", start, end)
    return data[opened + 1 : closed]


class Control(asyncio.Protocol):
    """The commands of whoever started the sink: clear, expect N, count, times."""

    def __init__(self, ledger: Ledger, tell: Callable[[dict[str, Any]], None]) -> None:
        self._ledger = ledger
        self._tell = tell
        self._held = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Obey each line."""
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._obey(*line.decode().split())

    def connection_lost(self, _exc: Exception | None) -> None:
        """End the sink with whoever started it."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _obey(self, verb: str, argument: str = "0") -> None:
        if verb == "clear":
            self._ledger.clear()
            self._tell({"event": "cleared"})
        elif verb == "expect":
            self._ledger.expect(int(argument))
        elif verb == "count":
            self._tell({"event": "count", **asdict(self._ledger.count())})
        elif verb == "times":
            times = {name.decode(): at for name, at in self._ledger.arrived.items()}
            self._tell({"event": "times", "times": times})


async def serve(port: int, latency: float) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    ledger = Ledger(_tell, time.monotonic)
    server = await loop.create_server(
        functools.partial(Conversation, ledger, latency), "127.0.0.1", port, backlog=4096
    )
    control = Control(ledger, _tell)
    await loop.connect_read_pipe(lambda: control, sys.stdin)
    _tell({"event": "listening", "port": server.sockets[0].getsockname()[1]})
    await control.ended
    server.close()


def _tell(said: dict[str, Any]) -> None:
    # Whole, and not through a buffer: the reader waits for the line.
    rest = json.dumps(said).encode() + b"\n"
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def main() -> None:
    """Run the sink."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    chosen = parser.parse_args()
    with runner() as loop:
        loop.run(serve(chosen.port, chosen.latency))


if __name__ == "__main__":
    main()
