"""The cells of the matrix: where a relay misbehaves, how, on which session, and to how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import FAULTS, Fault

PER_TRANSACTION = 100
"""How many recipients go into one transaction (RFC 5321 section 4.5.3.1.8)."""


class Place(StrEnum):
    """A moment of a conversation in which a relay may misbehave."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    EHLO_IN_TLS = "ehlo-in-tls"
    AUTH = "auth"
    RSET = "rset"
    MAIL = "mail"
    RCPT_FIRST = "rcpt-first"
    RCPT_MIDDLE = "rcpt-middle"
    RCPT_LAST = "rcpt-last"
    DATA = "data"
    BODY = "body"
    """A short body, which leaves together with its dot."""
    LONG_BODY = "long-body"
    """A body so long that the dot cannot have left while the relay does not read."""
    DOT = "dot"
    QUIT = "quit"

    @property
    def verb(self) -> str:
        """What a script calls it."""
        return _VERBS[self]

    @property
    def is_opening(self) -> bool:
        """Whether no message is known to the relay yet."""
        return self is Place.GREETING or self is Place.EHLO or self.is_secured

    @property
    def is_secured(self) -> bool:
        """Whether it takes a relay with TLS and AUTH to get there."""
        return self in _SECURED


_VERBS = {
    Place.GREETING: "CONNECT",
    Place.EHLO: "EHLO",
    Place.STARTTLS: "STARTTLS",
    Place.HANDSHAKE: "TLS",
    Place.EHLO_IN_TLS: "EHLO",
    Place.AUTH: "AUTH",
    Place.RSET: "RSET",
    Place.MAIL: "MAIL",
    Place.RCPT_FIRST: "RCPT",
    Place.RCPT_MIDDLE: "RCPT",
    Place.RCPT_LAST: "RCPT",
    Place.DATA: "DATA",
    Place.BODY: "BODY",
    Place.LONG_BODY: "BODY",
    Place.DOT: ".",
    Place.QUIT: "QUIT",
}
_SECURED = (Place.STARTTLS, Place.HANDSHAKE, Place.EHLO_IN_TLS, Place.AUTH)
_SILENCES = ("silence", "half-a-reply", "slow-drip")
_OF_MANY = (Place.RCPT_MIDDLE, Place.RCPT_LAST)
_DOUBTFUL = (Place.DATA, Place.BODY, Place.LONG_BODY, Place.DOT)


@dataclass(frozen=True, slots=True)
class Cell:
    """One case: the mail to ``recipients`` meets ``fault`` at ``place``, once.

    ``reused``: another mail has gone over the same session before it, or, where the place
    belongs to the opening of a session, over an earlier one.
    """

    place: Place
    fault: Fault
    reused: bool
    recipients: int
    on_doubt: OnDoubt = OnDoubt.RETRY

    def __str__(self) -> str:
        session = "reused" if self.reused else "first"
        parts = (self.place, self.fault, session, self.recipients, self.on_doubt)
        return "/".join(map(str, parts))

    @classmethod
    def parse(cls, name: str) -> Cell:
        """Return the cell of this name, as `str` gives it."""
        place, fault, session, recipients, on_doubt = name.split("/")
        (found,) = [known for known in FAULTS if known.name == fault]
        return cls(Place(place), found, session == "reused", int(recipients), OnDoubt(on_doubt))

    @property
    def is_silence(self) -> bool:
        """Whether only a timeout ends it."""
        # What a relay says behind its greeting is lost, and it will not say it again.
        is_lost = self.place is Place.EHLO and self.fault.is_early
        return is_lost or self.fault.name in _SILENCES

    @property
    def position(self) -> int:
        """Which recipient meets the fault, counted from 0, where RCPT does."""
        match self.place:
            case Place.RCPT_MIDDLE:
                return self.recipients // 2
            case Place.RCPT_LAST:
                return self.recipients - 1
        return 0

    @property
    def transactions(self) -> int:
        """In how many transactions the mail goes."""
        return -(-self.recipients // PER_TRANSACTION)

    @property
    def messages_per_session(self) -> int:
        """How many transactions a session may carry, so that the place is reached."""
        if self.place is Place.QUIT:
            return self.reused + self.transactions
        return 1 if self.place.is_opening else 100

    def answer(self, position: int) -> str:
        """Return what the relay says to this recipient, fault apart: ok, later or never."""
        if self.place.verb == "RCPT" and position == self.position:
            return "ok"
        others = position - (self.place.verb == "RCPT" and position > self.position)
        return ("ok", "never", "later")[others % 3]


def cells(place: Place, *, reused: bool, recipients: int) -> Iterator[Cell]:
    """Return the cells of one stage, one kind of session and one size, whatever the doubt."""
    if place in _OF_MANY and recipients == 1:
        return
    if place is Place.RSET and not reused:
        return
    policies = tuple(OnDoubt) if place in _DOUBTFUL else (OnDoubt.RETRY,)
    for fault in FAULTS:
        if fault.suits(place.verb):
            for on_doubt in policies:
                yield Cell(place, fault, reused, recipients, on_doubt)


def product() -> Iterator[Cell]:
    """Return every cell there is."""
    for place in Place:
        for reused in (False, True):
            for recipients in (1, 3, 150):
                yield from cells(place, reused=reused, recipients=recipients)
