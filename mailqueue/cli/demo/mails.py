"""The mails of the demo: who they are for and how each must end."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from email.message import EmailMessage

from mailqueue.cli.demo.habits import habit_of
from mailqueue.client.outgoing import OnDoubtName, Outgoing, PriorityName
from mailqueue.mail.lifecycle import State

SENDER = "orders@example.org"
DOMAIN = "example.net"
LIFETIME = 5.0
"""Seconds after which mail expires that cannot be sent; enough to be tried once on any machine."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail; no address is used by two of them, so what a relay hears of it is of this one.

    ``ends`` holds where its habit alone does not say how it must end.
    """

    recipients: tuple[str, ...]
    relay: str = "main"
    sender: str = SENDER
    on_doubt: OnDoubtName = "retry"
    priority: PriorityName = "normal"
    expires_in: float | None = None
    ends: State | None = None

    @property
    def message(self) -> EmailMessage:
        """What goes on the wire."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = f"For {self.recipients[0]}"
        message.set_content("Your order is on its way.\n.\nA line with one dot is no end.\n")
        return message

    def outgoing(self) -> Outgoing:
        """Return it as the producer hands it over."""
        return Outgoing(
            self.message,
            sender=self.sender,
            relay=self.relay,
            on_doubt=self.on_doubt,
            priority=self.priority,
            expires_in=self.expires_in,
        )

    def end_of(self, address: str) -> State:
        """Return the state in which this recipient must end."""
        return self.ends or habit_of(address).ends

    @property
    def is_mixed(self) -> bool:
        """Whether its recipients are not all answered alike."""
        return len({habit_of(address).word for address in self.recipients}) > 1


@dataclass(slots=True)
class Addresses:
    """Makes addresses that are used once: ``customer-1``, ``customer-2``, ``spam-1``."""

    _made: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def of(self, *words: str) -> tuple[str, ...]:
        """Return a new address for each of ``words``."""
        return tuple(map(self._one, words))

    def _one(self, word: str) -> str:
        self._made[word] += 1
        return f"{word}-{self._made[word]}@{DOMAIN}"


def few_dozen(addresses: Addresses) -> list[Mail]:
    """Return what is enqueued before the daemon starts."""
    of = addresses.of
    unwelcome = of("unwelcome")
    return [
        *(Mail(of("customer")) for _ in range(16)),
        *(Mail(of("greylisted")) for _ in range(3)),
        Mail(of("crowded")),
        *(Mail(of("unknown")) for _ in range(2)),
        Mail(of("hostile")),
        Mail(of("unwanted")),
        Mail(of("spam")),
        Mail(unwelcome, sender=unwelcome[0]),
        Mail(of("customer", "unknown", "customer")),
        Mail(of("customer", "greylisted", "customer")),
        Mail(of("reopened")),
        Mail(of("lost")),
        Mail(of("lost"), on_doubt="hold", ends=State.HELD),
        *(Mail(of("customer"), relay="bulk") for _ in range(6)),
        *(Mail(of("customer"), relay="account") for _ in range(5)),
    ]


def locked(addresses: Addresses) -> Mail:
    """Return a mail that is put off until it expires."""
    return Mail(addresses.of("locked"), expires_in=LIFETIME)


def tampered(addresses: Addresses) -> Mail:
    """Return a mail whose row is going to be changed behind the outbox's back."""
    return Mail(addresses.of("tampered"), priority="high", expires_in=LIFETIME)


def withdrawn(addresses: Addresses) -> Mail:
    """Return a mail that is going to be cancelled in time."""
    return Mail(addresses.of("customer"), ends=State.CANCELLED)
