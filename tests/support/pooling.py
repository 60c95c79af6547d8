"""A pooler before PostgreSQL that gives each transaction another session, as PgBouncer can."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import make_url

_TLS, _GSS = 80877103, 80877104
_PROTOCOL = 196608


class TransactionPooler:
    """Listens on a port of its own, in a thread, and shares ``sessions`` of the server among all.

    Sessions are lent in turn, for a transaction each. What somebody has left in one, such as a
    prepared statement or a LISTEN, is there for whoever comes next.
    """

    def __init__(self, url: str, *, sessions: int = 2) -> None:
        self._target = make_url(url)
        self._count = sessions
        self._greeting = b""
        self._clients: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """The URL of the database as it is reached through here."""
        through = self._target.set(host="127.0.0.1", port=self._port, query={})
        return through.render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(10)

    async def _open(self) -> None:
        self._free: deque[_Session] = deque()
        self._sessions = asyncio.Semaphore(self._count)
        for _ in range(self._count):
            session = await _Session.begin(
                Path(str(self._target.query["host"])),
                self._target.username or "",
                self._target.database or "",
            )
            self._greeting = session.greeting
            self._free.append(session)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for session in self._free:
            session.writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.ensure_future(self._client(reader, writer))
        self._clients.add(client)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([client])
        self._clients.discard(client)
        writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (code := await _startup(reader)) in (_TLS, _GSS):
                writer.write(b"N")
            if code != _PROTOCOL:
                return
            writer.write(self._greeting)
            while (message := await _message(reader))[:1] != b"X":
                async with self._sessions:
                    session = self._free.popleft()
                    await self._transaction(message, session, reader, writer)
                    self._free.append(session)

    async def _transaction(
        self,
        message: bytes,
        session: _Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Carry messages both ways until the server says that no transaction is open."""
        while True:
            session.writer.write(message)
            # What is asked for in one breath ends with Sync; a simple query is one by itself.
            if message[:1] in (b"Q", b"S"):
                status = await _answers(session, writer)
                if status == b"I":
                    return
            message = await _message(reader)


class _Session:
    """A session of the server's; ``greeting`` is what it said when it began."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    @classmethod
    async def begin(cls, directory: Path, user: str, database: str) -> Self:
        session = cls(*await asyncio.open_unix_connection(directory / ".s.PGSQL.5432"))
        asked = b"".join(part.encode() + b"\0" for part in ("user", user, "database", database, ""))
        session.writer.write(struct.pack("!ii", 8 + len(asked), _PROTOCOL) + asked)
        while True:
            message = await _message(session.reader)
            session.greeting += message
            if message[:1] == b"Z":
                return session


async def _startup(reader: asyncio.StreamReader) -> int:
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    code: int = struct.unpack("!i", (await reader.readexactly(length - 4))[:4])[0]
    return code


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head + await reader.readexactly(length - 4)


async def _answers(session: _Session, writer: asyncio.StreamWriter) -> bytes:
    """Hand on what the server says until it is ready; returns the state of the transaction."""
    while True:
        message = await _message(session.reader)
        writer.write(message)
        if message[:1] == b"Z":
            await writer.drain()
            return message[5:6]
