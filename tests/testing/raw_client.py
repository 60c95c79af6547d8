"""A client with no opinion: it sends what it is told and returns what comes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from mailqueue.testing import ScriptedRelay

SECONDS = 5.0


class RawClient:
    """Streams to a relay; every wait ends after `SECONDS`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def line(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readline()

    async def reply(self) -> str:
        """One reply, its lines joined by a vertical bar; "" at the end of the stream."""
        lines = []
        while line := await self.line():
            lines.append(line.decode("utf-8", "replace").removesuffix("\r\n"))
            if line[3:4] != b"-":
                break
        return "|".join(lines)

    async def ask(self, command: str) -> str:
        await self.send(command.encode("utf-8") + b"\r\n")
        return await self.reply()

    async def code(self, command: str) -> str:
        return (await self.ask(command))[:3]

    async def everything(self) -> bytes:
        """All bytes until the other side ends its direction."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()

    async def greet(self) -> str:
        await self.reply()
        return await self.ask("EHLO client.example")

    async def secure(self, tls: ssl.SSLContext) -> None:
        assert (await self.ask("STARTTLS")).startswith("220")
        async with asyncio.timeout(SECONDS):
            await self.writer.start_tls(tls, server_hostname="localhost")

    async def transact(
        self, sender: str, recipients: list[str], content: bytes = b"Subject: x\r\n\r\ny\r\n"
    ) -> str:
        """A transaction that expects every command to succeed; the reply to the dot."""
        assert await self.code(f"MAIL FROM:<{sender}>") == "250"
        for recipient in recipients:
            assert await self.code(f"RCPT TO:<{recipient}>") == "250"
        assert await self.code("DATA") == "354"
        await self.send(content + b".\r\n")
        return await self.reply()


@contextlib.asynccontextmanager
async def connect(
    relay: ScriptedRelay, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawClient]:
    """A connection that has not read its greeting yet."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(
            relay.host,
            relay.port,
            ssl=tls,
            server_hostname="localhost" if tls else None,
            limit=2**20,
        )
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def greeted(relay: ScriptedRelay) -> AsyncIterator[RawClient]:
    """A connection after EHLO."""
    async with connect(relay) as client:
        await client.greet()
        yield client


async def turn_the_loop(times: int) -> None:
    """Let everything that is ready have its turn, so many times over."""
    for _ in range(times):
        await asyncio.sleep(0)
