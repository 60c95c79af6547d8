"""A transaction step by step: each command waits for the reply to the one before it."""

from __future__ import annotations

from mailqueue.config.pacing import Timeouts
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence, NoReply, Reply
from mailqueue.mail.stage import Stage
from mailqueue.smtp.evidence import is_stale, leaves_session
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.transaction import SIZE_REFUSALS, BeforeDot, Transacted, Transaction, told
from mailqueue.smtp.upload import upload
from mailqueue.smtp.wire import Wire


class StepwiseTransaction(Transaction):
    """Has the wire for itself, from `run` to its end."""

    __slots__ = ("_may_be_stale", "_timeouts", "_wire")

    def __init__(
        self,
        envelope: Envelope,
        content: Content,
        *,
        wire: Wire,
        offer: Offer,
        timeouts: Timeouts,
        before_dot: BeforeDot | None = None,
    ) -> None:
        super().__init__(envelope, content, offer=offer, before_dot=before_dot)
        self._wire = wire
        self._timeouts = timeouts
        self._may_be_stale = wire.was_used
        wire.dot_written = False
        wire.is_busy = not self.is_settled

    @property
    def dot_written(self) -> bool:
        """Whether the final dot may have left this machine."""
        return self._wire.dot_written

    async def run(self) -> Transacted | None:
        """Hand over the message, see `Transaction.run`."""
        if self.is_settled:
            return self._transacted()
        try:
            return await self._conduct()
        except BaseException:
            self._wire.abort()
            raise
        finally:
            self._wire.is_busy = False

    def interrupt(self, answer: NoReply) -> tuple[Finding, ...]:
        """Disconnect, see `Transaction.interrupt`."""
        self._wire.abort()
        return self._close_ourselves(answer)

    # Steps

    async def _conduct(self) -> Transacted | None:
        self._wire.was_used = True
        if self._wire.holds_envelope:
            if not await self._reset():
                return None
            self._may_be_stale = False
        opening = await self._mail()
        if self._may_be_stale and is_stale(opening.answer):
            self._wire.abort()
            return None
        await self._go_on(opening)
        return self._transacted()

    async def _reset(self) -> bool:
        evidence = await self._wire.ask(Stage.RSET, "RSET", timeout=self._timeouts.rset)
        match evidence.answer:
            case Reply(is_positive=True):
                self._wire.holds_envelope = False
                return True
        self._wire.abort()
        return False

    async def _mail(self) -> Evidence:
        """Ask MAIL; once more without SIZE where that parameter was not taken."""
        command, bare = self._mail_command(), self._mail_command(with_size=False)
        timeout = self._timeouts.rset if self._may_be_stale else self._timeouts.mail
        evidence = await self._wire.ask(Stage.MAIL, command, timeout=timeout)
        match evidence.answer:
            case Reply(code=code) if code in SIZE_REFUSALS and bare != command:
                return await self._wire.ask(Stage.MAIL, bare, timeout=self._timeouts.mail)
        return evidence

    async def _go_on(self, opening: Evidence) -> None:
        """Take the transaction to its end after MAIL was answered with ``opening``."""
        match opening.answer:
            case Reply(is_positive=True):
                self._wire.holds_envelope = True
            case _:
                self._close(opening)
                return
        for position in self._dialogue.unanswered:
            await self._ask_rcpt(position)
            if self.is_settled:
                return
        if self._dialogue.accepted:
            await self._ask_data()

    async def _ask_rcpt(self, position: int) -> None:
        command = self._rcpt_command(position)
        evidence = await self._wire.ask(Stage.RCPT, command, timeout=self._timeouts.rcpt)
        match evidence.answer:
            case Reply(is_positive=True) as reply:
                self._dialogue.accept(position, reply)
            case _ if leaves_session(evidence):
                self._dialogue.refuse(position, evidence)
            case _:
                self._close(evidence)

    async def _ask_data(self) -> None:
        evidence = await self._wire.ask(Stage.DATA, "DATA", timeout=self._timeouts.data)
        match evidence.answer:
            case Reply(code=354):
                evidence = await self._send_content()
                self._wire.holds_envelope = False
        self._close(evidence)

    async def _send_content(self) -> Evidence:
        accepted, before_dot = self._dialogue.accepted, self._before_dot
        return await upload(
            self._wire,
            self._content.raw,
            timeouts=self._timeouts,
            may_finish=None if before_dot is None else lambda: told(before_dot(accepted)),
        )

    def _close(self, evidence: Evidence) -> None:
        self._dialogue.close(evidence)
        if not leaves_session(evidence):
            self._wire.abort()
