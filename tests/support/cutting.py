"""A proxy before PostgreSQL that cuts connections at the worst moment and can change servers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sqlalchemy import make_url

Cut = Literal["before", "after", "meanwhile"]
"""When a connection is cut: before COMMIT reaches the server; after the server has answered it, and
before the answer is heard; or with the COMMIT on its way, to arrive when `let_arrive` is called."""

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


@dataclass(eq=False)
class _Link:
    """One connection: what the client writes and reads, and the server's end of it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_answering: bool = False
    """Whether the next thing the server says is the answer to a COMMIT, which nobody may hear."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class CuttingProxy:
    """Listens on a port of its own, in a thread, for the server whose URL it is given.

    ``url`` leads through it. ``counts`` tells how often each kind of cut was made. Every method
    may be called from any thread, and returns when it is done.
    """

    def __init__(self, url: str) -> None:
        self.counts: Counter[str] = Counter()
        self._target = make_url(url)
        self._links: set[_Link] = set()
        self._cuts: list[Cut] = []
        self._spared = 0
        self._refusing = self._then_refuse = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._late: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """The URL of the database as it is reached through here."""
        through = self._target.set(host="127.0.0.1", port=self._port, query={})
        return through.render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = self._server.sockets[0].getsockname()[1]
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

    def cut_at_commit(self, *cuts: Cut, after: int = 0, then_refuse: bool = False) -> None:
        """Cut each of the next commits in one of these ways, once so many more have passed.

        ``then_refuse``: let nobody in from that moment on.
        """
        self._do(self._set_cuts(cuts, after, then_refuse))

    def let_arrive(self) -> None:
        """Let the commits reach the server that were on their way when they were cut."""
        self._do(self._let_arrive())

    def stall(self, *, stalling: bool = True) -> None:
        """Let nothing through from now on, without a word to anybody; or let it through again."""
        self._do(self._stall(stalling))

    def cut_all(self) -> None:
        """Cut every connection as it stands."""
        self._do(self._cut_all())

    def refuse(self, *, refusing: bool = True) -> None:
        """Let nobody in from now on, and cut whoever is; or let them in again."""
        self._do(self._refuse(refusing))

    def lead_to(self, url: str) -> None:
        """Lead to another server from now on, and cut whoever is connected to the last one."""
        self._target = make_url(url)
        self.cut_all()

    def _do(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(10)

    async def _set_cuts(self, cuts: tuple[Cut, ...], after: int, then_refuse: bool) -> None:
        self._cuts, self._spared, self._then_refuse = [*cuts], after, then_refuse

    async def _let_arrive(self) -> None:
        late, self._late = self._late, []
        for server in late:
            server.write(_COMMIT)
            await server.drain()
            # The server takes what was written before the end.
            server.close()

    async def _cut_all(self) -> None:
        for link in [*self._links]:
            link.client.transport.abort()
            link.server.transport.abort()

    async def _refuse(self, refusing: bool) -> None:
        self._refusing = refusing
        if refusing:
            await self._cut_all()

    async def _stall(self, stalling: bool) -> None:
        if stalling:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def _close(self) -> None:
        self._server.close()
        self._flowing.set()
        await self._cut_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)
        for server in self._late:
            server.transport.abort()
        # What was aborted is closed in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            answers, server = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server)
        self._links.add(link)
        try:
            pumps = {
                asyncio.ensure_future(self._ask(reader, link)),
                asyncio.ensure_future(self._answer(answers, link)),
            }
            _, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in rest:
                pump.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        finally:
            self._links.discard(link)
            writer.transport.abort()
            if server not in self._late:
                server.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        directory = self._target.query.get("host")
        if isinstance(directory, str):
            return await asyncio.open_unix_connection(Path(directory, ".s.PGSQL.5432"))
        return await asyncio.open_connection(self._target.host, self._target.port)

    async def _ask(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(65536):
                await self._flowing.wait()
                if octets.endswith(_COMMIT) and (cut := self._next_cut()) is not None:
                    await self._cut(cut, octets, link)
                    return
                link.server.write(octets)
                await link.server.drain()

    def _next_cut(self) -> Cut | None:
        if not self._cuts:
            return None
        if self._spared:
            self._spared -= 1
            return None
        return self._cuts.pop(0)

    async def _cut(self, cut: Cut, octets: bytes, link: _Link) -> None:
        self.counts[cut] += 1
        self._refusing = self._then_refuse
        link.server.write(octets.removesuffix(_COMMIT))
        await link.server.drain()
        if cut == "after":
            link.is_answering = True
            link.server.write(_COMMIT)
            await link.server.drain()
            await link.answered.wait()
        elif cut == "meanwhile":
            self._late.append(link.server)

    async def _answer(self, answers: asyncio.StreamReader, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while octets := await answers.read(65536):
                await self._flowing.wait()
                if link.is_answering:
                    link.answered.set()
                    return
                link.client.write(octets)
                await link.client.drain()
        link.answered.set()
