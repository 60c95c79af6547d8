"""The pool: the sessions of one relay, who has them, and who waits for one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from mailqueue.clock import Clock
from mailqueue.events import Emit, PipeliningSuspended
from mailqueue.mail.reply import Evidence
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.session import Session, open_session
from mailqueue.smtp.transcript import Transcript
from mailqueue.smtp.trust import SECONDS, Trust

LAST_WORDS_SECONDS = 1.0
"""For how long a session that says goodbye counts, so that the relay never sees one too many: one
that does not answer QUIT costs no more than that."""
OVERTAKEN_SECONDS = 0.05
"""For how long those who send one message after the other may go before somebody who waits."""
_NEW: Final = "new"
Place = Session | Literal["new"]
"""A session that has room, or leave to open one."""
MayBegin = Callable[[], Awaitable[bool]]
"""Awaited by whose turn it is, before anything is opened; it may take its time."""


def _tell_nobody(_: object) -> None:
    """Stand in where nobody wants to know."""


class Pool:
    """Lends sessions, no more than ``limit`` at once: by default the relay's ``connections``.

    Of those that lie idle the one used last goes first, so that few are used much. Where all
    are busy, one that takes commands in groups is lent a second time: the second message
    stands in line behind the first. Those who say goodbye are counted too, for a moment.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        clock: Clock,
        transcript: Transcript | None = None,
        emit: Emit = _tell_nobody,
    ) -> None:
        self._relay = relay
        self.limit = relay.settings.connections
        self._clock = clock
        self._transcript = transcript
        self._emit = emit
        self._trust = Trust()
        self._idle: list[tuple[float, Session]] = []
        self._lent: dict[Session, int] = {}
        """How often each session is lent."""
        self._roomy: dict[Session, None] = {}
        """Those of them that may have room, the one longest so first."""
        self._opening = 0
        """How many places are taken though there is no session."""
        self._waiting: deque[asyncio.Future[Place | None]] = deque()
        self._waits_since = 0.0
        """When somebody began to wait, or the one before him was served (monotonic seconds)."""
        self._serves_soon = False
        """Whether those who wait will be served in the next turn of the loop."""
        self._leaving: dict[asyncio.Task[None], None] = {}
        self._last_words = 0
        """How many of those are counted still."""
        self._is_closed = False

    @property
    def idle(self) -> int:
        """How many sessions lie idle."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @property
    def connected(self) -> int:
        """How many connections there are, or are about to be, with those that say goodbye."""
        return len(self._idle) + len(self._lent) + self._opening + len(self._leaving)

    def resize(self, limit: int) -> None:
        """Have no more than ``limit`` sessions from now on.

        Of those beyond it the idle ones end now, and the others when they are given back.
        """
        self.limit = limit
        while self._idle and self._taken > limit:
            self._dismiss(self._idle.pop(0)[1])
        self._serve()

    async def borrow(
        self, *, fresh: bool = False, may_begin: MayBegin | None = None
    ) -> Session | Evidence | None:
        """Return a session that has room for a transaction, which must begin without delay.

        An idle one that is in order; else one newly opened, or the evidence where that fails;
        else one that is busy; else whichever is free first, for whoever came first. ``fresh``:
        no idle one, as after meeting a stale one: what made it stale has mostly made the
        others so too, and each would take its time to show. Returns None where ``may_begin``
        says no, and to whoever was sent away.
        """
        # Whoever met a stale session has had its turn.
        place = None if self._owes_a_turn and not fresh else self._place(fresh=fresh)
        if place is None:
            place = await self._turn(first=fresh)
        if place is None:
            return None
        try:
            if may_begin is not None and not await may_begin():
                self._vacate(place)
                return None
            if isinstance(place, Session):
                return place
            opened = await self._open()
        except BaseException:
            self._vacate(place)
            raise
        if isinstance(opened, Session):
            self._opening -= 1
            self._lend(opened)
            self._serve()
        else:
            self._clear_soon()
        return opened

    def give_back(self, session: Session) -> None:
        """Take a session back; one that may not be used again is ended."""
        lent = self._lent.get(session, 0)
        session.release(lent - 1)
        if lent > 1 and session.is_connected:
            self._lent[session] = lent - 1
            self._roomy[session] = None
        elif lent:
            del self._lent[session]
            self._roomy.pop(session, None)
            self._keep(session)
            if not session.is_connected:
                self._opening += 1
                self._clear_soon()
        if self._owes_a_turn:
            self._serve()
        elif self._waiting and not self._serves_soon:
            # In a moment: whoever has more to send keeps the place, so that it goes behind the
            # dot of who is under way there.
            self._serves_soon = True
            asyncio.get_running_loop().call_soon(self._serve_now)

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

    def send_away(self) -> None:
        """Let nobody wait any longer: a place that is free one day is no longer for them."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    async def close(self) -> None:
        """End all idle sessions politely, and from now on each one as it is given back.

        Whoever waits is sent away.
        """
        self._is_closed = True
        self.send_away()
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

    # Whose turn it is

    def _place(self, *, fresh: bool = False) -> Place | None:
        """Take a place that is free, if there is one."""
        if not fresh and (session := self._idle_one()) is not None:
            self._lend(session)
            return session
        if fresh and self._is_full and self._idle:
            self._dismiss(self._idle.pop(0)[1])
        if not self._is_full:
            self._opening += 1
            return _NEW
        # Whoever always has another behind him would never end.
        return None if fresh or self._taken > self.limit else self._shared()

    @property
    def _owes_a_turn(self) -> bool:
        """Whether nobody may go before who waits. While one session is being opened somebody mostly
        does; if all others took turns with him, no message would stand in line behind another.
        """
        if not self._waiting:
            return False
        return self._clock.monotonic() - self._waits_since >= OVERTAKEN_SECONDS

    @property
    def _is_full(self) -> bool:
        return self._taken + self._last_words >= self.limit

    @property
    def _taken(self) -> int:
        return len(self._idle) + len(self._lent) + self._opening

    def _idle_one(self) -> Session | None:
        while self._idle:
            since, session = self._idle.pop()
            if session.is_usable and not self._is_overdue(since):
                return session
            self._dismiss(session)
        return None

    def _shared(self) -> Session | None:
        """Take the place behind somebody who is under way."""
        for session in tuple(self._roomy):
            del self._roomy[session]
            if session.has_room:
                session.promise()
                self._lent[session] += 1
                return session
        return None

    async def _turn(self, *, first: bool) -> Place | None:
        """Wait for a place, in the order in which it was asked for; None: sent away."""
        turn: asyncio.Future[Place | None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._waits_since = self._clock.monotonic()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        try:
            return await turn
        except BaseException:
            if not turn.cancelled():
                if (place := turn.result()) is not None:
                    self._vacate(place)
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _serve_now(self) -> None:
        self._serves_soon = False
        self._serve()

    def _serve(self) -> None:
        """Give what is free to those who wait."""
        while self._waiting:
            if self._waiting[0].done():
                # Cancelled, and it has not run since.
                self._waiting.popleft()
            elif (place := self._place()) is not None:
                self._waiting.popleft().set_result(place)
                self._waits_since = self._clock.monotonic()
            else:
                return

    def _vacate(self, place: Place) -> None:
        """Take a place back in which nothing has begun."""
        if isinstance(place, Session):
            self.give_back(place)
        else:
            self._cleared()

    def _clear_soon(self) -> None:
        """Free the place of a session that was lost or did not come about.

        Not at once: whoever had it must be able to say so first, since it may be a reason why
        nobody else should begin.
        """
        asyncio.get_running_loop().call_soon(self._cleared)

    def _cleared(self) -> None:
        self._opening -= 1
        self._serve()

    # Sessions

    async def _open(self) -> Session | Evidence:
        return await open_session(
            self._relay,
            clock=self._clock,
            transcript=self._transcript,
            pipelining=self._trust.allows(self._clock.monotonic()),
        )

    def _lend(self, session: Session) -> None:
        session.promise()
        self._lent[session] = 1
        self._roomy[session] = None

    def _keep(self, session: Session) -> None:
        """Let it lie idle, or end it."""
        if self._is_closed or not session.is_usable or self._taken >= self.limit:
            self._dismiss(session)
            return
        self._trust.well()
        session.rest()
        self._idle.append((self._clock.monotonic(), session))

    def _is_overdue(self, since: float) -> bool:
        return self._clock.monotonic() - since >= self._relay.settings.idle_seconds

    def _dismiss(self, session: Session) -> None:
        """Say QUIT in the background: nobody should wait for a goodbye."""
        if session.is_at_odds and self._trust.trouble(self._clock.monotonic()):
            self._emit(PipeliningSuspended(self._relay.name, SECONDS))
        loop = asyncio.get_running_loop()
        leaving = loop.create_task(session.quit())
        self._leaving[leaving] = None
        self._last_words += 1
        patience = loop.call_later(LAST_WORDS_SECONDS, self._left)

        def left(_: object) -> None:
            del self._leaving[leaving]
            if patience.when() > loop.time():
                patience.cancel()
                self._left()

        leaving.add_done_callback(left)

    def _left(self) -> None:
        self._last_words -= 1
        self._serve()

    async def _all_left(self) -> None:
        if self._leaving:
            await asyncio.wait(self._leaving)
