"""One transaction, MAIL to the final dot: the handle of a message's turn on a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from mailqueue.mail.dialogue import Dialogue, Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence, NoReply
from mailqueue.mail.stage import Stage
from mailqueue.mail.value import value
from mailqueue.smtp.fitness import fault_of, path_fault
from mailqueue.smtp.offer import Offer

BeforeDot = Callable[[tuple[int, ...]], bool | Awaitable[bool]]
"""Called with the positions of the accepted recipients just before the final dot is written, and
awaited where it has no answer at once; False says that the lease is not ours any more, and the
dot stays unwritten."""


async def told(answer: bool | Awaitable[bool]) -> bool:
    """Return an answer that may have to be awaited."""
    return answer if isinstance(answer, bool) else await answer


SIZE_REFUSALS = frozenset({455, 504, 555})
"""A parameter of MAIL is not taken (RFC 5321 section 4.1.1.11)."""


@value
class Transacted:
    """A transaction that was carried out: one finding per recipient, in their order."""

    findings: tuple[Finding, ...]


class Transaction(ABC):
    """One message's turn on a session (RFC 5321 section 3.3).

    What cannot be asked at all is settled when it is made: `is_settled` then says that nobody
    is left to ask for, and `run` asks nothing.
    """

    __slots__ = ("_before_dot", "_content", "_dialogue", "_envelope", "_offer")

    def __init__(
        self,
        envelope: Envelope,
        content: Content,
        *,
        offer: Offer,
        before_dot: BeforeDot | None = None,
    ) -> None:
        self._envelope = envelope
        self._content = content
        self._offer = offer
        self._before_dot = before_dot
        self._dialogue = Dialogue(envelope.recipients)
        self._settle_unaskable()

    @property
    def is_settled(self) -> bool:
        """Whether every recipient has its answer."""
        return self._dialogue.is_settled

    @property
    @abstractmethod
    def dot_written(self) -> bool:
        """Whether the final dot may have left this machine.

        Asked by who wants to stop: before it nothing was accepted, after it only the reply
        tells.
        """

    @property
    def is_behind(self) -> bool:
        """Whether another message has the connection, and this one can be cut short at no cost
        but the session's.
        """
        return False

    @abstractmethod
    async def run(self) -> Transacted | None:
        """Hand over the message; see `BeforeDot` for the last chance to stop.

        Returns None where the session ended before anything was asked of this message, as one
        does that lay idle: open another at once. Cancelled, it ends the connection, or leaves
        its place in the line where another message has the connection.
        """

    @abstractmethod
    def interrupt(self, answer: NoReply) -> tuple[Finding, ...]:
        """End it from our side: whoever has no answer of the relay's gets ``answer`` instead.

        For a transaction that was cancelled or raised. The stage is that of the final dot if
        that may have left this machine.
        """

    # For those who carry it out

    def _transacted(self) -> Transacted:
        return Transacted(self._dialogue.findings())

    def _close_ourselves(self, answer: NoReply) -> tuple[Finding, ...]:
        stage = Stage.END_OF_DATA if self.dot_written else Stage.DATA
        self._dialogue.close(Evidence(stage, answer))
        return self._dialogue.findings()

    def _mail_command(self, *, with_size: bool = True) -> str:
        parameters = self._offer.mail_parameters(self._envelope, self._content)
        if not with_size:
            parameters = tuple(one for one in parameters if not one.startswith("SIZE="))
        return " ".join((f"MAIL FROM:<{self._envelope.sender}>", *parameters))

    def _rcpt_command(self, position: int) -> str:
        return f"RCPT TO:<{self._envelope.recipients[position]}>"

    def _settle_unaskable(self) -> None:
        envelope, content = self._envelope, self._content
        if reason := fault_of(envelope, content) or self._offer.lacks(envelope, content):
            self._dialogue.close(Evidence(Stage.MAIL, reason))
            return
        for position, recipient in enumerate(envelope.recipients):
            if fault := path_fault(recipient) or self._offer.lacks_for(recipient):
                self._dialogue.refuse(position, Evidence(Stage.RCPT, fault))
