"""One leased message from claim to record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mailqueue.clock import Clock
from mailqueue.daemon.ration import Ration, Turn
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, sanitise
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.record import Result, Trial
from mailqueue.smtp.pool import MayBegin, Pool
from mailqueue.smtp.session import Session, SessionFacts
from mailqueue.smtp.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of a delivery: through which relay, as which worker, by which schedule."""

    relay: str
    worker: str
    policy: Backoff
    recipients_per_transaction: int
    is_stand_in: bool = False
    """Whether the relay is a fallback, in place of the one that the mail is meant for."""
    ration: Ration | None = None
    """What we may offer of the relay's rate; None: as much as it takes."""


Settle = Callable[["Delivery", Sequence[Result]], None]
"""Takes results to be recorded; whoever has taken them says so by `Delivery.is_written`."""
MayWriteDot = Callable[[Sequence[Lease], OnDoubt], bool | Awaitable[bool]]
"""Whether the leases are still ours; where doubt is held, it is marked durably first, which is
awaited."""


def _tell_nobody(_: Delivery) -> None:
    """Stand in where nobody wants to know."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Sends one message, in as many transactions as its recipients need.

    Whoever carries it is free for the next one when all results are handed in: ``ended`` is
    called once they are written, or have been given up.
    """

    message: LeasedMessage
    terms: Terms
    pool: Pool
    clock: Clock
    may_begin: MayBegin
    may_write_dot: MayWriteDot
    settle: Settle
    ended: Callable[[Delivery], None] = _tell_nobody
    begun: bool = field(default=False, init=False)
    is_unwanted: bool = field(default=False, init=False)
    _unwanted_for: str = field(default="shutdown", init=False)
    _left: tuple[Lease, ...] = field(default=(), init=False)
    """Those who have not been settled, with those in the transaction that runs."""
    _transaction: Transaction | None = field(default=None, init=False)
    _facts: SessionFacts | None = field(default=None, init=False)
    """Of the session that the transaction runs on, or ran on."""
    _started_at: int = field(default=0, init=False)
    _settling: bool = field(default=False, init=False)
    _batch: tuple[Lease, ...] = field(default=(), init=False)
    _unwritten: int = field(default=0, init=False)
    """How many times results were handed in that are not written."""
    _written: asyncio.Future[None] | None = field(default=None, init=False)
    """What waits until none are."""
    _is_carried: bool = field(default=False, init=False)

    @property
    def is_past_dot(self) -> bool:
        """Whether cutting it short now would leave doubt, or lose a result that is known."""
        return self._settling or (self._transaction is not None and self._transaction.dot_written)

    def end(self, sending: asyncio.Task[None], why: str = "shutdown") -> None:
        """Ask the task that runs this to begin no other transaction, and to leave this one
        unless its final dot may have been written.
        """
        if not self.is_unwanted:
            self.is_unwanted, self._unwanted_for = True, why
        # A task that is cancelled before its first step runs nothing, and its leases would
        # be left to run out; this one finds itself unwanted and hands them back.
        if self.begun and not self.is_past_dot:
            sending.cancel()

    def withdraw(self, sending: asyncio.Task[None], why: str) -> None:
        """Ask the task to begin no other transaction, and to leave the line if it stands there
        behind another message; what has a session for itself goes on to its answer.
        """
        if self.is_unwanted:
            return
        self.is_unwanted, self._unwanted_for = True, why
        if self._transaction is not None and self._transaction.is_behind:
            sending.cancel()

    async def run(self) -> None:
        """Deliver, and hand in what became of every recipient, whatever happens; raises only
        CancelledError and what `settle` raises.
        """
        self.begun = True
        self._left = self.message.leases
        why = None
        try:
            while self._left and not self.is_unwanted and why is None:
                why = await self._transact()
            self._hand_back(why or self._unwanted_for)
        except BaseException:
            # Who is left was never sent to: a lease that ran out would look like doubt.
            self._hand_back("the delivery was cut short")
            raise
        finally:
            self._has_been_carried()

    def turn_away(self, why: str) -> None:
        """Hand everybody back, in place of `run`; raises what `settle` raises."""
        self.begun = True
        self._left = self.message.leases
        try:
            self._hand_back(why)
        finally:
            self._has_been_carried()

    def is_written(self) -> None:
        """Hear that results which were handed in are written, or that they never will be."""
        self._unwritten -= 1
        if self._unwritten:
            return
        if self._written is not None and not self._written.done():
            self._written.set_result(None)
        if self._is_carried:
            self.ended(self)

    def _has_been_carried(self) -> None:
        self._is_carried = True
        if not self._unwritten:
            self.ended(self)

    async def _transact(self) -> str | None:
        """Send to the next of those left; returns why there can be no other, if so."""
        self._batch = batch = self._left[: self.terms.recipients_per_transaction]
        self._forget()
        try:
            findings = await self._converse(batch)
        except asyncio.CancelledError:
            answer = NoReply(NoReplyKind.ABANDONED, self._unwanted_for)
            self._conclude(batch, self._interrupted(batch, answer))
            raise
        except Exception as error:  # noqa: BLE001 - one bad message never stops the queue
            answer = NoReply(NoReplyKind.LOCAL, sanitise(f"{type(error).__name__}: {error}"))
            self._conclude(batch, self._interrupted(batch, answer))
            return "a fault on this side ended the transaction before"
        if findings is None:
            return "the relay was paused or replaced meanwhile"
        self._conclude(batch, findings)
        if self._left and self._unwritten:
            await self._until_written()
        return None if self._facts else "the relay was lost before these were reached"

    async def _converse(self, batch: tuple[Lease, ...]) -> tuple[Finding, ...] | None:
        """Return what became of each of ``batch``; None where it may not begin any more."""
        if not self.message.content.raw:
            # Nobody enqueued it so: sent, it would be an empty mail, and the loss would not show.
            raise LookupError("the outbox holds no content for this message")
        envelope = Envelope(self.message.sender, tuple([lease.address for lease in batch]))
        fresh, ration, turn = False, self.terms.ration, None
        while True:
            if ration is not None and (turn := await ration.turn(len(batch))) is None:
                return None
            session = await self.pool.borrow(fresh=fresh, may_begin=self.may_begin)
            self._started_at = self.clock.now()
            if session is None:
                return None
            if isinstance(session, Evidence):
                return (Finding(session),) * len(batch)
            if ration is not None and turn is not None:
                # Not before, because nobody knows how long it takes to open one.
                await self._wait_for(ration, turn, session)
                # Whoever has to begin anew, because a session is stale, has been counted.
                ration = None
            if self.is_unwanted:
                # While the session was being opened.
                self.pool.give_back(session)
                return None
            try:
                self._facts = session.facts
                self._transaction = session.begin(
                    envelope, self.message.content, before_dot=self._may_write_dot
                )
                transacted = await self._transaction.run()
            finally:
                # At once: the session carries the next mail while this result is written.
                self.pool.give_back(session)
            if transacted is not None:
                return transacted.findings
            # The session had died while idle, or under the mail before this one.
            self._forget()
            fresh = True

    async def _wait_for(self, ration: Ration, turn: Turn, session: Session) -> None:
        """Return when the relay's rate lets this one begin, or when it may not any more."""
        waits = not ration.is_here(turn)
        try:
            may_begin = await ration.comes(turn) and await self.may_begin()
        except BaseException:
            self.pool.give_back(session)
            raise
        if waits:
            # It lay idle: if the relay has ended it meanwhile, nothing was asked on it.
            session.rest()
        self._started_at = self.clock.now()
        if not may_begin and not self.is_unwanted:
            self.is_unwanted, self._unwanted_for = True, "the relay was paused meanwhile"

    def _forget(self) -> None:
        """Begin anew: what was on another session says nothing of what comes."""
        self._transaction, self._facts, self._started_at = None, None, self.clock.now()

    def _may_write_dot(self, accepted: tuple[int, ...]) -> bool | Awaitable[bool]:
        batch = self._batch
        leases = [batch[position] for position in accepted]
        return self.may_write_dot(leases, self.message.on_doubt)

    def _interrupted(self, batch: tuple[Lease, ...], answer: NoReply) -> tuple[Finding, ...]:
        """End the transaction from our side: whoever was answered keeps that answer."""
        if self._transaction is not None:
            return self._transaction.interrupt(answer)
        return (Finding(Evidence(Stage.DATA, answer)),) * len(batch)

    def _conclude(self, batch: tuple[Lease, ...], findings: Sequence[Finding]) -> None:
        """Settle ``batch``, but for those who go into the next transaction at once."""
        trial = self._trial()
        decided = [
            self._result(lease, finding, trial)
            for lease, finding in zip(batch, findings, strict=True)
        ]
        again = tuple([result.lease for result in decided if result.decision.verdict.at_once])
        self._left = again + self._left[len(batch) :]
        self._transaction = None
        if again:
            decided = [one for one in decided if not one.decision.verdict.at_once]
        self._hand_in(decided)

    def _result(self, lease: Lease, finding: Finding, trial: Trial) -> Result:
        decision = decide(
            finding,
            lease.history,
            self.terms.policy,
            on_doubt=self.message.on_doubt,
            is_stand_in=self.terms.is_stand_in,
            now=trial.ended_at,
            jitter=self.clock.random(),
        )
        return Result(lease, decision, trial)

    def _trial(self) -> Trial:
        ended_at = self.clock.now()
        facts = self._facts
        if facts is None:
            return Trial(self.terms.worker, self.terms.relay, self._started_at, ended_at)
        return Trial(
            self.terms.worker,
            self.terms.relay,
            self._started_at,
            ended_at,
            session=facts.id,
            peer=facts.peer,
            tls=facts.tls,
        )

    def _hand_back(self, why: str) -> None:
        if not self._left:
            return
        evidence = Evidence(Stage.DATA, NoReply(NoReplyKind.ABANDONED, why))
        self._forget()
        trial = self._trial()
        leases, self._left = self._left, ()
        self._hand_in([self._result(lease, Finding(evidence), trial) for lease in leases])

    def _hand_in(self, results: Sequence[Result]) -> None:
        if not results:
            return
        self._unwritten += 1
        try:
            self.settle(self, results)
        except BaseException:
            self._unwritten -= 1
            raise

    async def _until_written(self) -> None:
        """Wait, with others still to be sent to: a cancellation waits too."""
        self._written = writing = asyncio.get_running_loop().create_future()
        self._settling = True
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise
        finally:
            self._settling = False
