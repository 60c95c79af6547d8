"""One transaction, MAIL to the final dot: every recipient leaves it with one finding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mailqueue.config.pacing import Timeouts
from mailqueue.mail.address import check, split
from mailqueue.mail.dialogue import Dialogue, Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import (
    Evidence,
    NoReply,
    NoReplyKind,
    Reply,
    Unsendable,
    sanitise,
)
from mailqueue.mail.stage import Stage
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.upload import upload
from mailqueue.smtp.wire import Wire

BeforeDot = Callable[[tuple[int, ...]], Awaitable[bool]]
"""Awaited with the positions of the accepted recipients just before the final dot is written;
False says that the lease is not ours any more, and the dot stays unwritten."""

_SIZE_REFUSALS = frozenset({455, 504, 555})
"""A parameter of MAIL is not taken (RFC 5321 section 4.1.1.11)."""


class Transaction:
    """Asks the relay step by step and keeps what it answers (RFC 5321 section 3.3).

    What cannot be asked at all is settled when it is made: `is_settled` then says whether
    anybody is left to ask for. Otherwise call `mail`, and `go_on` with its evidence.
    """

    def __init__(
        self, wire: Wire, offer: Offer, *, envelope: Envelope, content: Content, timeouts: Timeouts
    ) -> None:
        self.holds_envelope = False
        """Whether the relay keeps an envelope that RSET must clear before the next MAIL."""
        self._wire = wire
        self._offer = offer
        self._envelope = envelope
        self._content = content
        self._timeouts = timeouts
        self._dialogue = Dialogue(envelope.recipients)
        self._settle_unaskable()

    @property
    def is_settled(self) -> bool:
        """Whether every recipient has its answer."""
        return not self._dialogue.unanswered

    def findings(self) -> tuple[Finding, ...]:
        """Return each recipient's finding, in the order of the envelope."""
        return self._dialogue.findings()

    def interrupted(self, answer: NoReply) -> tuple[Finding, ...]:
        """Return the findings where we ourselves end it here; who was answered keeps that."""
        stage = Stage.END_OF_DATA if self._wire.dot_written else Stage.DATA
        self._dialogue.close(Evidence(stage, answer))
        return self._dialogue.findings()

    async def mail(self, *, timeout: float) -> Evidence:
        """Ask MAIL; once more without SIZE where that parameter was not taken."""
        parameters = self._offer.mail_parameters(self._envelope, self._content)
        evidence = await self._ask_mail(parameters, timeout)
        without_size = tuple(one for one in parameters if not one.startswith("SIZE="))
        match evidence.answer:
            case Reply(code=code) if code in _SIZE_REFUSALS and without_size != parameters:
                return await self._ask_mail(without_size, self._timeouts.mail)
        return evidence

    async def go_on(self, opening: Evidence, before_dot: BeforeDot | None) -> None:
        """Take the transaction to its end after MAIL was answered with ``opening``."""
        match opening.answer:
            case Reply(is_positive=True):
                self.holds_envelope = True
            case _:
                self._close(opening)
                return
        for position in self._dialogue.unanswered:
            await self._ask_rcpt(position)
            if self.is_settled:
                return
        if self._dialogue.accepted:
            await self._ask_data(before_dot)

    # Steps

    def _settle_unaskable(self) -> None:
        if reason := _fault(self._envelope, self._content) or self._lack():
            self._dialogue.close(Evidence(Stage.MAIL, reason))
            return
        for position, recipient in enumerate(self._envelope.recipients):
            if reason := _path_fault(recipient) or self._offer.lacks_for(recipient):
                self._dialogue.refuse(position, Evidence(Stage.RCPT, reason))

    def _lack(self) -> Unsendable | None:
        return self._offer.lacks(self._envelope, self._content)

    async def _ask_mail(self, parameters: tuple[str, ...], timeout: float) -> Evidence:
        command = " ".join((f"MAIL FROM:<{self._envelope.sender}>", *parameters))
        return await self._wire.ask(Stage.MAIL, command, timeout=timeout)

    async def _ask_rcpt(self, position: int) -> None:
        command = f"RCPT TO:<{self._envelope.recipients[position]}>"
        evidence = await self._wire.ask(Stage.RCPT, command, timeout=self._timeouts.rcpt)
        match evidence.answer:
            case Reply(is_positive=True) as reply:
                self._dialogue.accept(position, reply)
            case _ if _leaves_session(evidence):
                self._dialogue.refuse(position, evidence)
            case _:
                self._close(evidence)

    async def _ask_data(self, before_dot: BeforeDot | None) -> None:
        evidence = await self._wire.ask(Stage.DATA, "DATA", timeout=self._timeouts.data)
        match evidence.answer:
            case Reply(code=354):
                evidence = await self._send_content(before_dot)
                self.holds_envelope = False
        self._close(evidence)

    async def _send_content(self, before_dot: BeforeDot | None) -> Evidence:
        accepted = self._dialogue.accepted
        return await upload(
            self._wire,
            self._content.raw,
            timeouts=self._timeouts,
            may_finish=None if before_dot is None else lambda: before_dot(accepted),
        )

    def _close(self, evidence: Evidence) -> None:
        self._dialogue.close(evidence)
        if not _leaves_session(evidence):
            self._wire.abort()


def _leaves_session(evidence: Evidence) -> bool:
    """Whether this answer belongs where it came, so that commands and replies are still paired."""
    match evidence.answer:
        case Reply(code=421):
            return False
        case Reply(is_transient=True) | Reply(is_permanent=True):
            return True
        case Reply(is_positive=True):
            return evidence.stage is Stage.END_OF_DATA
    return False


def _fault(envelope: Envelope, content: Content) -> NoReply | None:
    if envelope.sender and (fault := _path_fault(envelope.sender)):
        return fault
    raw = content.raw
    if not raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n"):
        # Some relay would take ``LF . LF`` for the final dot, and what follows for commands.
        return NoReply(NoReplyKind.LOCAL, "the stored content has a bare CR or LF")
    return None


def _path_fault(address: str) -> NoReply | None:
    """Find an address that would say more than a path: any row may have been tampered with."""
    try:
        check(split(address))
    except ValueError as error:
        return NoReply(NoReplyKind.LOCAL, sanitise(f"stored address {address!r}: {error}"))
    return None
