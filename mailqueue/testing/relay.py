"""The scripted relay: a real SMTP server on a real socket that misbehaves on cue."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mailqueue.testing.connection import Connection
from mailqueue.testing.ledger import Ledger
from mailqueue.testing.profile import Profile
from mailqueue.testing.script import Script
from mailqueue.testing.session import Session
from mailqueue.testing.watch import Predicate

_BACKLOG = 512


@dataclass(eq=False)
class ScriptedRelay(Profile):
    """A relay that obeys RFC 5321 wherever its script says nothing else.

        async with ScriptedRelay(script, users={"app": "secret"}) as relay:
            ...                              # let something send to relay.host, relay.port
            await relay.ledger.wait_for(3)

    It may be stopped and started again, and then listens on the same port with the same ledger:
    a relay that is down and comes back.

    Attributes:
        script: what to do differently; may be changed while it runs.
        host: the address to listen on.
        port: the port; 0 lets the system choose, and is then replaced by the choice.
        ledger: what was seen and taken.
        sessions: the connections that stand.
    """

    script: Script = field(default_factory=Script)
    host: str = field(default="127.0.0.1", kw_only=True)
    port: int = field(default=0, kw_only=True)
    ledger: Ledger = field(default_factory=Ledger, kw_only=True, repr=False)
    sessions: Sequence[Session] = field(default=(), init=False)
    _server: asyncio.Server | None = field(default=None, init=False, repr=False)
    _failures: list[Exception] = field(default_factory=list, init=False, repr=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        except ExceptionGroup as failures:
            if error is None:
                raise
            error.add_note(f"and the script of the relay failed: {failures.exceptions}")

    async def start(self) -> None:
        """Listen. Does nothing if it does already.

        Raises:
            OSError: the port is taken.
        """
        if self._server is not None:
            return
        self._server = await asyncio.get_running_loop().create_server(
            self._open_session, self.host, self.port, backlog=_BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, drop every connection, and return when all are gone.

        Stopping twice, or before starting, does nothing.

        Raises:
            ExceptionGroup: predicates of the script raised these while the relay ran.
        """
        server, self._server = self._server, None
        if server is not None:
            await _close(server)
            await self.drop_sessions()
        failures, self._failures = self._failures, []
        if failures:
            raise ExceptionGroup("the script of the relay failed", failures)

    async def drop_sessions(self) -> None:
        """Drop every connection as a crash would, and return when all are gone."""
        ending = list(self.sessions)
        for session in ending:
            session.abort()
        for session in ending:
            await session.ended.wait()

    async def saw(self, verb: str, count: int = 1, *, timeout: float = 5.0) -> None:
        """Return once `verb` came at least `count` times in all.

        Besides commands these are CONNECT, TLS, CREDENTIALS, BODY (the first octet of one) and
        "." (the final dot). They are counted before they are answered.

        Raises:
            TimeoutError: it did not, within `timeout` seconds.
        """
        await self.ledger.saw(verb, count, timeout=timeout)

    async def until(self, predicate: Predicate, *, timeout: float = 5.0) -> None:
        """Return once `predicate`, asked after everything that happens here, is true.

        Raises:
            TimeoutError: it was not, within `timeout` seconds.
        """
        await self.ledger.until(predicate, timeout=timeout)

    async def wait_sessions_closed(self, *, timeout: float = 5.0) -> None:
        """Return once no client is connected.

        A session that stalls in a body takes in the rest from here on, unanswered: it could not
        notice the end of the connection otherwise.

        Raises:
            TimeoutError: somebody still was, after `timeout` seconds.
        """
        for session in self.sessions:
            session.unstall()
        await self.until(lambda: not self.sessions, timeout=timeout)

    def _open_session(self) -> Session:
        session = Session(self, self.script, self.ledger, self._forget)
        self.sessions = [*self.sessions, session]
        return session

    def _forget(self, session: Connection) -> None:
        self.sessions = [kept for kept in self.sessions if kept is not session]
        if session.failure is not None:
            self._failures.append(session.failure)


async def _close(server: asyncio.Server) -> None:
    """Stop listening without losing a connection that is just being accepted.

    asyncio accepts in one turn of the loop and makes the session in the next; a server closed in
    between leaves a socket that nobody owns.
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()
