"""How a session carries its transactions: step by step, or in groups of commands."""

from __future__ import annotations

from mailqueue.config.pacing import Timeouts
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import NoReply, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.smtp.goodbye import Goodbye
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.pipeline import Pipeline
from mailqueue.smtp.pipelined import PipelinedTransaction
from mailqueue.smtp.stepwise import StepwiseTransaction
from mailqueue.smtp.transaction import BeforeDot, Transaction
from mailqueue.smtp.wire import Wire


class Stepwise:
    """Each command waits for the reply to the one before it; nobody can stand behind another."""

    places = 1
    is_at_odds = False

    def __init__(self, wire: Wire, offer: Offer, timeouts: Timeouts) -> None:
        self._wire = wire
        self._offer = offer
        self._timeouts = timeouts

    @property
    def is_open(self) -> bool:
        """Whether the connection is in order."""
        return self._wire.is_open

    @property
    def is_connected(self) -> bool:
        """The same: there is nobody under way but whoever holds the session."""
        return self._wire.is_open

    @property
    def under_way(self) -> int:
        """How many transactions have begun and not ended."""
        return int(self._wire.is_busy)

    def begin(
        self, envelope: Envelope, content: Content, before_dot: BeforeDot | None
    ) -> Transaction:
        """Return the next transaction."""
        return StepwiseTransaction(
            envelope,
            content,
            wire=self._wire,
            offer=self._offer,
            timeouts=self._timeouts,
            before_dot=before_dot,
        )

    def rest(self) -> None:
        """Note that the session lies idle."""
        self._wire.was_used = True

    async def say_goodbye(self) -> None:
        """Say QUIT."""
        await self._wire.ask(Stage.QUIT, "QUIT", timeout=self._timeouts.quit)

    def abort(self) -> None:
        """Disconnect."""
        self._wire.abort()


class Pipelined:
    """Commands go in groups, and one transaction may stand behind the one under way."""

    places = 2

    def __init__(self, line: Pipeline, offer: Offer) -> None:
        self._line = line
        self._offer = offer

    @property
    def is_open(self) -> bool:
        """Whether the line takes another transaction."""
        return self._line.is_open

    @property
    def is_connected(self) -> bool:
        """Whether replies may still come."""
        return self._line.last_word is None

    @property
    def is_at_odds(self) -> bool:
        """Whether the relay seems to have come to grief over a group."""
        return self._line.is_at_odds

    @property
    def under_way(self) -> int:
        """How many transactions have begun and not ended."""
        return self._line.under_way

    def begin(
        self, envelope: Envelope, content: Content, before_dot: BeforeDot | None
    ) -> Transaction:
        """Return a transaction that stands in the line."""
        return PipelinedTransaction(
            envelope, content, line=self._line, offer=self._offer, before_dot=before_dot
        )

    def rest(self) -> None:
        """Note that the session lies idle."""
        self._line.was_used = True

    async def say_goodbye(self) -> None:
        """Say QUIT; where somebody is still under way the session ends without."""
        if not self._line.under_way:
            await Goodbye(self._line).say()

    def abort(self) -> None:
        """Disconnect."""
        self._line.end(NoReply(NoReplyKind.ABANDONED, "disconnected"))
