"""The pool: sessions of one relay that lie idle, to be used again."""

from __future__ import annotations

import asyncio

from mailqueue.clock import Clock
from mailqueue.mail.reply import Evidence
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.session import Session, open_session
from mailqueue.smtp.transcript import Transcript


class Pool:
    """Keeps idle sessions, the one used last on top, so that few are used much.

    Bounds nothing: how many are borrowed at once is for the borrower to decide.
    """

    def __init__(self, relay: Relay, *, clock: Clock, transcript: Transcript | None = None) -> None:
        self._relay = relay
        self._clock = clock
        self._transcript = transcript
        self._idle: list[tuple[float, Session]] = []
        self._leaving: dict[asyncio.Task[None], None] = {}
        self._is_closed = False

    @property
    def idle(self) -> int:
        """How many sessions lie idle."""
        return len(self._idle)

    async def borrow(self, *, fresh: bool = False) -> Session | Evidence:
        """Return an idle session that is in order, or open one; the evidence where that fails.

        ``fresh``: open one in any case, as after meeting a stale one: what made it stale has
        mostly made the others so too, and each would take its time to show.
        """
        while self._idle and not fresh:
            since, session = self._idle.pop()
            if session.is_usable and not self._is_overdue(since):
                return session
            self._dismiss(session)
        return await open_session(self._relay, clock=self._clock, transcript=self._transcript)

    def give_back(self, session: Session) -> None:
        """Take a session back; one that may not be used again is ended."""
        if self._is_closed or not session.is_usable:
            self._dismiss(session)
            return
        session.rest()
        self._idle.append((self._clock.monotonic(), session))

    async def trim(self) -> None:
        """End the idle sessions that have lain too long, are too old or were ended by the relay."""
        kept = []
        for since, session in self._idle:
            if session.is_usable and not self._is_overdue(since):
                kept.append((since, session))
            else:
                self._dismiss(session)
        self._idle = kept
        await self._all_left()

    async def close(self) -> None:
        """End all idle sessions politely, and from now on each one as it is given back."""
        self._is_closed = True
        while self._idle:
            self._dismiss(self._idle.pop()[1])
        await self._all_left()

    def abort(self) -> None:
        """End all idle sessions at once, and those that are saying goodbye."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[1].abort()
        for leaving in self._leaving:
            leaving.cancel()

    # Steps

    def _is_overdue(self, since: float) -> bool:
        return self._clock.monotonic() - since >= self._relay.settings.idle_seconds

    def _dismiss(self, session: Session) -> None:
        """Say QUIT in the background: nobody should wait for a goodbye."""
        leaving = asyncio.get_running_loop().create_task(session.quit())
        self._leaving[leaving] = None
        leaving.add_done_callback(self._leaving.pop)

    async def _all_left(self) -> None:
        if self._leaving:
            await asyncio.wait(self._leaving)
