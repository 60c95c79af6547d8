"""One transaction's answers, so that each recipient leaves it with exactly one."""

from __future__ import annotations

from collections.abc import Sequence

from mailqueue.mail.reply import Evidence, Reply
from mailqueue.mail.value import value


@value
class Finding:
    """What one recipient leaves a transaction with.

    ``evidence`` decides; ``rcpt`` is the recipient's own reply to RCPT where it was
    accepted there and the message was decided later (RFC 5321 section 3.3); ``others`` says
    whether another recipient of the same transaction had been accepted when this
    one was refused, which is what tells "too many recipients" from "mailbox full"
    (RFC 5321 section 4.5.3.1.10).
    """

    evidence: Evidence
    rcpt: Reply | None = None
    others: bool = False


class Dialogue:
    """Collects the answers of one transaction as they come.

    A later answer to the whole message reaches only those who were accepted so far and
    have no answer yet: somebody refused at RCPT keeps that refusal, whatever becomes of
    the message (RFC 5321 section 3.3).
    """

    __slots__ = ("_accepted", "_findings", "recipients")

    def __init__(self, recipients: Sequence[str]) -> None:
        if not recipients:
            raise ValueError("a transaction needs at least one recipient")
        self.recipients = tuple(recipients)
        self._findings: list[Finding | None] = [None] * len(recipients)
        self._accepted: dict[int, Reply] = {}

    @property
    def accepted(self) -> tuple[int, ...]:
        """Positions of the recipients that the relay accepted at RCPT."""
        return tuple(self._accepted)

    @property
    def unanswered(self) -> tuple[int, ...]:
        """Positions that have no deciding answer yet."""
        return tuple([i for i, finding in enumerate(self._findings) if finding is None])

    @property
    def is_settled(self) -> bool:
        """Whether everybody has a deciding answer."""
        return None not in self._findings

    def accept(self, position: int, reply: Reply) -> None:
        """Note a 2xx to RCPT; it decides nothing yet."""
        if self._findings[position] is not None or position in self._accepted:
            raise AssertionError(f"recipient {position} has been answered twice at RCPT")
        self._accepted[position] = reply

    def refuse(self, position: int, evidence: Evidence) -> None:
        """Give one recipient its own answer."""
        if self._findings[position] is not None or position in self._accepted:
            raise AssertionError(f"recipient {position} has been answered twice at RCPT")
        self._findings[position] = Finding(evidence, others=bool(self._accepted))

    def close(self, evidence: Evidence) -> None:
        """Give everybody who has no answer yet this one."""
        others = bool(self._accepted)
        for position, finding in enumerate(self._findings):
            if finding is None:
                own = self._accepted.get(position)
                self._findings[position] = Finding(evidence, own, others)

    def findings(self) -> tuple[Finding, ...]:
        """Return each recipient's finding, in the order given; asserts that none lacks one."""
        found = tuple([finding for finding in self._findings if finding is not None])
        if len(found) != len(self._findings):
            missing = self.unanswered
            raise AssertionError(f"recipients {missing} left the transaction without an answer")
        return found
