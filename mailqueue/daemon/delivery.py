"""One leased message from claim to record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mailqueue.clock import Clock
from mailqueue.mail.decision import Decision, decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, sanitise
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.record import Result, Trial
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.session import Session
from mailqueue.smtp.transaction import BeforeDot


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of a delivery: through which relay, as which worker, by which schedule."""

    relay: str
    worker: str
    policy: Backoff
    recipients_per_transaction: int


Settle = Callable[["Delivery", Sequence[Result]], Awaitable[None]]
"""Records results; awaited before the session carries anything else."""
MayWriteDot = Callable[[Sequence[Lease], OnDoubt], Awaitable[bool]]
"""Whether the leases are still ours; where doubt is held, it is marked durably first."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Sends one message, in as many transactions as its recipients need."""

    message: LeasedMessage
    terms: Terms
    pool: Pool
    seats: asyncio.Semaphore
    clock: Clock
    may_begin: Callable[[], bool]
    may_write_dot: MayWriteDot
    settle: Settle
    begun: bool = field(default=False, init=False)
    is_unwanted: bool = field(default=False, init=False)
    _session: Session | None = field(default=None, init=False)
    _settling: bool = field(default=False, init=False)

    @property
    def is_past_dot(self) -> bool:
        """Whether cutting it short now would leave doubt, or lose a result that is known."""
        return self._settling or (self._session is not None and self._session.dot_written)

    def end(self, sending: asyncio.Task[None]) -> None:
        """Ask the task that runs this to begin no other transaction, and to leave this one
        unless its final dot may have been written.
        """
        self.is_unwanted = True
        # A task that is cancelled before its first step runs nothing, and its leases would
        # be left to run out; this one finds itself unwanted and hands them back.
        if self.begun and not self.is_past_dot:
            sending.cancel()

    async def run(self) -> None:
        """Deliver and settle every recipient, whatever happens; raises only CancelledError."""
        self.begun = True
        remaining = self.message.leases
        while remaining and not self.is_unwanted:
            most = self.terms.recipients_per_transaction
            batch, rest = remaining[:most], remaining[most:]
            await self._take_seat(remaining)
            try:
                again = await self._transaction(batch)
            except asyncio.CancelledError:
                await self._hand_back(rest, "shutdown")
                raise
            finally:
                self.seats.release()
            if again is None:
                await self._hand_back(rest, "the relay was lost before these were reached")
                return
            remaining = again + rest
        await self._hand_back(remaining, "shutdown")

    async def _take_seat(self, remaining: tuple[Lease, ...]) -> None:
        try:
            await self.seats.acquire()
        except asyncio.CancelledError:
            await self._hand_back(remaining, "shutdown")
            raise

    async def _transaction(self, batch: tuple[Lease, ...]) -> tuple[Lease, ...] | None:
        """Send to ``batch``; returns who goes into the next transaction at once, None to end."""
        if not self.may_begin():
            await self._hand_back(batch, "the relay was paused or replaced meanwhile")
            return None
        started_at = self.clock.now()
        try:
            findings = await self._converse(batch)
        except asyncio.CancelledError:
            answer = NoReply(NoReplyKind.ABANDONED, "shutdown")
            await self._conclude(batch, self._interrupted(batch, answer), started_at)
            raise
        except Exception as error:  # noqa: BLE001 - one bad message never stops the queue
            answer = NoReply(NoReplyKind.LOCAL, sanitise(f"{type(error).__name__}: {error}"))
            await self._conclude(batch, self._interrupted(batch, answer), started_at)
            return None
        return await self._conclude(batch, findings, started_at)

    async def _converse(self, batch: tuple[Lease, ...]) -> tuple[Finding, ...]:
        envelope = Envelope(self.message.sender, tuple(lease.address for lease in batch))
        before_dot = self._before_dot(batch)
        fresh = False
        while True:
            borrowed = await self.pool.borrow(fresh=fresh)
            if isinstance(borrowed, Evidence):
                return (Finding(borrowed),) * len(batch)
            self._session = borrowed
            transacted = await borrowed.transact(
                envelope, self.message.content, before_dot=before_dot
            )
            if transacted is not None:
                return transacted.findings
            # A reused session that had died while idle: it says nothing of this message.
            self._session = None
            self.pool.give_back(borrowed)
            fresh = True

    def _before_dot(self, batch: tuple[Lease, ...]) -> BeforeDot:
        async def before_dot(accepted: tuple[int, ...]) -> bool:
            leases = [batch[position] for position in accepted]
            return await self.may_write_dot(leases, self.message.on_doubt)

        return before_dot

    def _interrupted(self, batch: tuple[Lease, ...], answer: NoReply) -> tuple[Finding, ...]:
        """End the transaction from our side: whoever was answered keeps that answer."""
        findings = None if self._session is None else self._session.interrupt(answer)
        return findings or (Finding(Evidence(Stage.DATA, answer)),) * len(batch)

    async def _conclude(
        self, batch: tuple[Lease, ...], findings: Sequence[Finding], started_at: int
    ) -> tuple[Lease, ...] | None:
        session, trial = self._session, self._trial(started_at)
        decided = [
            Result(lease, self._decide(lease, finding), trial)
            for lease, finding in zip(batch, findings, strict=True)
        ]
        again = tuple(result.lease for result in decided if result.decision.verdict.at_once)
        await self._settled([one for one in decided if not one.decision.verdict.at_once])
        self._session = None
        if session is None:
            return None
        self.pool.give_back(session)
        return again

    def _decide(self, lease: Lease, finding: Finding) -> Decision:
        return decide(
            finding,
            lease.history,
            self.terms.policy,
            on_doubt=self.message.on_doubt,
            now=self.clock.now(),
            jitter=self.clock.random(),
        )

    def _trial(self, started_at: int) -> Trial:
        ended_at = self.clock.now()
        if self._session is None:
            return Trial(self.terms.worker, self.terms.relay, started_at, ended_at)
        facts = self._session.facts
        return Trial(
            self.terms.worker,
            self.terms.relay,
            started_at,
            ended_at,
            session=facts.id,
            peer=facts.peer,
            tls=facts.tls,
        )

    async def _hand_back(self, leases: tuple[Lease, ...], why: str) -> None:
        evidence = Evidence(Stage.DATA, NoReply(NoReplyKind.ABANDONED, why))
        trial = self._trial(self.clock.now())
        await self._settled(
            [Result(lease, self._decide(lease, Finding(evidence)), trial) for lease in leases]
        )

    async def _settled(self, results: Sequence[Result]) -> None:
        if not results:
            return
        # A result that is known must be written: a cancellation waits until it is.
        self._settling = True
        writing = asyncio.ensure_future(self.settle(self, results))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise
        finally:
            self._settling = False
