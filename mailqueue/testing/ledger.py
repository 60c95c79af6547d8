"""What a relay took in: the truth that a queue's own records are measured against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailqueue.testing.record import SessionRecord
from mailqueue.testing.watch import Predicate, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A message whose final dot arrived, whatever was answered.

    Attributes:
        order: counted from 1 over all offers of the ledger.
        at: seconds on the clock of the event loop; only differences mean something.
        session: number of the session.
        transaction: number of the transaction in it.
        sender: as in MAIL, without brackets; "" is the null sender.
        recipients: those that RCPT was granted for, in order.
        mail_parameters: after the address in MAIL, such as "SIZE=1234".
        recipient_parameters: the same for those recipients that had any.
        content: the message without dot-stuffing; `None` where the ledger keeps none.
        size: octets of the content.
        digest: SHA-256 of the content, in hexadecimal.
        message_id: with its angle brackets, `None` without one.
        reply: what was going to be answered; "" for nothing.
        tls: the protocol version, `None` in the clear.
        authenticated_as: the user, `None` without AUTH.
    """

    order: int
    at: float
    session: int
    transaction: int
    sender: str
    recipients: tuple[str, ...]
    mail_parameters: tuple[str, ...]
    recipient_parameters: dict[str, tuple[str, ...]]
    content: bytes | None
    size: int
    digest: str
    message_id: str | None
    reply: str
    tls: str | None
    authenticated_as: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance(Offer):
    """An offer the relay took responsibility for: 2xx, or `Rule.accept()`."""


class Ledger:
    """Everything a relay saw and took, over all its sessions and restarts.

    An acceptance is entered before its reply is sent, as a careful relay does: a reply that gets
    lost on the way is of a message that was taken.

    Attributes:
        offered: every message whose final dot arrived.
        accepted: those of them that were taken.
        sessions: every session there was.
        most_open: the largest number of sessions that stood at the same time.
        seen: how often each command came; also CONNECT, TLS, CREDENTIALS, BODY and ".".
        keep_content: whether offers carry their content; without it large drains stay small.
    """

    def __init__(self, *, keep_content: bool = True) -> None:
        self.keep_content = keep_content
        self.offered: list[Offer] = []
        self.accepted: list[Acceptance] = []
        self.sessions: list[SessionRecord] = []
        self.most_open = 0
        self.seen: Counter[str] = Counter()
        self._by_recipient: Counter[str] = Counter()
        self._by_message: Counter[tuple[str | None, str]] = Counter()
        self._open: dict[int, SessionRecord] = {}
        self._watch = Watch()

    def __len__(self) -> int:
        return len(self.accepted)

    def deliveries(self, recipient: str, *, message_id: str | None = None) -> int:
        """Return how often mail for `recipient`, or this one message for it, was accepted."""
        if message_id is None:
            return self._by_recipient[recipient]
        return self._by_message[message_id, recipient]

    def of_message(self, message_id: str) -> list[Acceptance]:
        """Return the acceptances with this Message-ID (with its brackets), in order."""
        return [accepted for accepted in self.accepted if accepted.message_id == message_id]

    @property
    def duplicates(self) -> dict[tuple[str | None, str], int]:
        """Message-ID and recipient of all that was accepted more than once, with the count."""
        return {key: count for key, count in self._by_message.items() if count > 1}

    @property
    def open_sessions(self) -> list[SessionRecord]:
        """The sessions whose connection still stands."""
        return list(self._open.values())

    async def wait_for(self, count: int, *, timeout: float = 5.0) -> Sequence[Acceptance]:
        """Return the acceptances once there are at least `count`.

        Raises:
            TimeoutError: there were not, within `timeout` seconds.
        """
        await self.until(lambda: len(self.accepted) >= count, timeout=timeout)
        return self.accepted

    async def saw(self, verb: str, count: int = 1, *, timeout: float = 5.0) -> None:
        """Return once `verb` came at least `count` times in all.

        Raises:
            TimeoutError: it did not, within `timeout` seconds.
        """
        await self.until(lambda: self.seen[verb.upper()] >= count, timeout=timeout)

    async def until(self, predicate: Predicate, *, timeout: float = 5.0) -> None:
        """Return once `predicate`, asked after everything that happens here, is true.

        Raises:
            TimeoutError: it was not, within `timeout` seconds; the message says what was seen.
        """
        await self._watch.until(predicate, timeout=timeout, complaint=self.summary)

    def summary(self) -> str:
        """Say in a line what was seen."""
        seen = ", ".join(f"{verb} {count}" for verb, count in self.seen.items())
        sessions = f"{len(self.sessions)} sessions, {len(self.open_sessions)} open"
        return f"{len(self.accepted)} accepted of {len(self.offered)} offered; {sessions}; {seen}"

    # For the relay

    def open_session(self, peer: str) -> SessionRecord:
        """Enter a new session."""
        record = SessionRecord(len(self.sessions) + 1, peer)
        self.sessions.append(record)
        self._open[record.number] = record
        self.most_open = max(self.most_open, len(self._open))
        return record

    def close_session(self, record: SessionRecord) -> None:
        """Enter the end of a session."""
        record.is_open = False
        self._open.pop(record.number, None)

    def note(self, verb: str) -> None:
        """Count a command."""
        self.seen[verb] += 1
        self._watch.changed()

    def enter(self, offer: Offer) -> None:
        """Enter a message whose final dot arrived."""
        self.offered.append(offer)
        if isinstance(offer, Acceptance):
            self.accepted.append(offer)
            self._by_recipient.update(offer.recipients)
            self._by_message.update((offer.message_id, one) for one in offer.recipients)
        self._watch.changed()

    def changed(self) -> None:
        """Let those who wait look again."""
        self._watch.changed()
