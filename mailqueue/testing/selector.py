"""Cues, the moments at which a script may step in, and the selectors that pick them out."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from mailqueue.testing.transaction import Transaction

BODY = "BODY"
CONNECT = "CONNECT"
CREDENTIALS = "CREDENTIALS"
DOT = "."
EVERY = "*"
TLS = "TLS"

_COMMANDS = {
    *("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"),
    *("VRFY", "EXPN", "HELP", "BDAT", "ETRN", "XCLIENT"),
}
VERBS = frozenset(_COMMANDS | {BODY, CONNECT, CREDENTIALS, DOT, EVERY, TLS})

# Moments in which no client waits for a reply, so that "every verb" does not mean them.
UNANSWERED = frozenset({BODY, TLS})

Numbers = int | Container[int] | None


@dataclass(slots=True)
class Cue:
    """One moment of one session, as rules and their predicates see it.

    Attributes:
        verb: the command, or CONNECT, TLS, CREDENTIALS, BODY and "." for what is not one.
        session: number of the session, counted from 1 over the life of the ledger.
        transaction: number of the MAIL command in its session this belongs to; 0 before any.
        line: the command as it came, credentials left out.
        address: the path of MAIL and RCPT without its brackets; `None` elsewhere.
        octets: how much of the body has arrived.
        mail: the transaction under way, if there is one.
        content: the message, at "." only.
    """

    verb: str
    session: int
    transaction: int
    line: str = ""
    address: str | None = None
    octets: int = 0
    mail: Transaction | None = None
    content: bytes = b""

    @property
    def sender(self) -> str | None:
        """The sender of the transaction this belongs to, at MAIL the one just named."""
        if self.verb == "MAIL":
            return self.address
        return self.mail.sender if self.mail else None

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipients accepted so far."""
        return tuple(self.mail.recipients) if self.mail else ()

    @property
    def message_id(self) -> str | None:
        """The Message-ID of the content, which is known at "." only."""
        return message_id_of(self.content)


_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)


def message_id_of(content: bytes) -> str | None:
    """Return the Message-ID in the header of `content` with its angle brackets, or `None`."""
    header_end = content.find(b"\r\n\r\n")
    match = _MESSAGE_ID.search(content, 0, header_end if header_end >= 0 else len(content))
    return match.group(1).decode("utf-8", "replace") if match else None


@dataclass(slots=True)
class Selector:
    """Which cues a rule is for; `seen` counts those that fit in everything but `occurrence`."""

    verb: str
    address: str | None = None
    session: Numbers = None
    transaction: Numbers = None
    occurrence: Numbers = None
    octets: int = 1
    predicates: list[Callable[[Cue], bool]] = field(default_factory=list)
    seen: int = 0

    def meets(self, cue: Cue) -> bool:
        """Whether the rule is for this cue, which has now been seen."""
        if not self._fits(cue):
            return False
        self.seen += 1
        return _among(self.seen, self.occurrence)

    def foresees(self, cue: Cue) -> bool:
        """Whether the rule would be for this cue if it came next; nothing is counted."""
        return self._fits(cue) and _among(self.seen + 1, self.occurrence)

    def might_meet(self, verb: str) -> bool:
        """Whether cues of this verb can be meant at all."""
        return self.verb == verb or (self.verb == EVERY and verb not in UNANSWERED)

    def _fits(self, cue: Cue) -> bool:
        return (
            self.might_meet(cue.verb)
            and (self.verb != BODY or self.octets == cue.octets)
            and _among(cue.session, self.session)
            and _among(cue.transaction, self.transaction)
            and (self.address is None or _is_like(cue.address, self.address))
            and all(predicate(cue) for predicate in self.predicates)
        )


def _among(number: int, numbers: Numbers) -> bool:
    if numbers is None:
        return True
    return number == numbers if isinstance(numbers, int) else number in numbers


def _is_like(address: str | None, pattern: str) -> bool:
    """Compare without regard to case; `*` in the pattern stands for anything."""
    if address is None:
        return False
    parts = map(re.escape, pattern.casefold().split("*"))
    return re.fullmatch(".*".join(parts), address.casefold()) is not None
