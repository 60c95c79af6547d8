"""The ceilings of sending: clients without a queue. ``python -m benchmarks.wire_client …``

``pipelined``: a bare protocol that sends MAIL, RCPT and DATA in one write, and the content with
its dot in the next. ``aiosmtplib``: `SMTP.sendmail` on sessions that stay open.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import aiosmtplib

from benchmarks import mails
from benchmarks.loops import runner
from benchmarks.program import await_go, tell

ENVELOPE_REPLIES = 3
GREETINGS = 2


class Pipelined(asyncio.Protocol):
    """Sends until ``numbers`` is empty; counts replies by their lines, and trusts them."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.ready = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()
        self._awaited = GREETINGS
        self._next: Callable[[], None] = self._await_word
        self._content = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say EHLO, without waiting for the greeting."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"EHLO bench.example.org\r\n")

    def data_received(self, data: bytes) -> None:
        """Go on once all replies that were asked for are here."""
        # The last line of a reply has a blank behind its code (RFC 5321 section 4.2).
        self._awaited -= sum(line[3:4] == b" " for line in data.split(b"\r\n"))
        if not self._awaited:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so to whoever waits."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the sink has gone"))

    def begin(self) -> None:
        """Send the next envelope, or end."""
        number = next(self._numbers, None)
        if number is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._content = mails.raw(number) + b".\r\n"
        self._awaited, self._next = ENVELOPE_REPLIES, self._send_content
        self._transport.write(
            f"MAIL FROM:<{mails.SENDER}>\r\nRCPT TO:<{mails.recipient(number)}>\r\n"
            "DATA\r\n".encode()
        )

    def _await_word(self) -> None:
        self.ready.set_result(None)

    def _send_content(self) -> None:
        self._awaited, self._next = 1, self.begin
        self._transport.write(self._content)


async def pipelined(port: int, sessions: int, numbers: Iterator[int]) -> None:
    """Send over bare pipelined sessions."""
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Pipelined(numbers), "127.0.0.1", port))[1]
        for _ in range(sessions)
    ]
    await asyncio.gather(*(each.ready for each in opened))

    async def send() -> None:
        for each in opened:
            each.begin()
        await asyncio.gather(*(each.done for each in opened))

    await _timed(send)


async def by_aiosmtplib(port: int, sessions: int, numbers: Iterator[int]) -> None:
    """Send over sessions of aiosmtplib."""
    opened = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=60)
        for _ in range(sessions)
    ]
    await asyncio.gather(*(each.connect() for each in opened))

    async def send_all(session: aiosmtplib.SMTP) -> None:
        for number in numbers:  # shared: each takes the next
            await session.sendmail(mails.SENDER, [mails.recipient(number)], mails.raw(number))
        await session.quit()

    async def send() -> None:
        await asyncio.gather(*map(send_all, opened))

    await _timed(send)


async def _timed(send: Callable[[], Awaitable[None]]) -> None:
    await_go()
    began, used = time.monotonic(), time.process_time()
    await send()
    seconds = time.monotonic() - began
    tell({"event": "done", "seconds": seconds, "cpu": time.process_time() - used})


CLIENTS = {"pipelined": pipelined, "aiosmtplib": by_aiosmtplib}


def main() -> None:
    """Send."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--mails", type=int, required=True)
    chosen = parser.parse_args()
    with runner(chosen.loop) as loop:
        numbers = iter(range(chosen.mails))
        loop.run(CLIENTS[chosen.client](chosen.port, chosen.sessions, numbers))


if __name__ == "__main__":
    main()
