"""What the demo did and saw while it ran, beside what the relays and the outbox remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailqueue.cli.demo.mails import Mail
from mailqueue.cli.demo.records import Look, Row, Standing


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A mail and the number that `enqueue` returned for it."""

    mail: Mail
    id: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was on record about a recipient at one moment."""

    standing: Standing
    history: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """A stalled worker's mail, before its late reply came and after.

    ``refusals``: how often the worker said that its result was refused.
    """

    address: str
    before: Seen
    after: Seen
    refusals: int


@dataclass(frozen=True, slots=True)
class Injection:
    """Input with something hidden in it; ``error`` is what the outbox said, "" if it took it."""

    what: str
    error: str


@dataclass(slots=True)
class Chronicle:
    """Filled as the demo goes on."""

    synchronous: int = 0
    """How the producers' connections commit: PRAGMA synchronous."""
    enqueued: list[Enqueued] = field(default_factory=list)
    again: list[bool] = field(default_factory=list)
    """For each message enqueued once more under its idempotency key: whether that was noticed."""
    rolled_back: list[str] = field(default_factory=list)
    """The addresses of mails whose transaction was rolled back."""
    orphaned: list[str] = field(default_factory=list)
    """The addresses of mails whose producer was killed."""
    injections: list[Injection] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    """What must stand nowhere."""
    halfway: Look | None = None
    kills: int = 0
    """How often a daemon was killed."""
    late: list[Late] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    """The statuses of daemons that were asked to end."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each daemon's log."""

    @property
    def mails(self) -> list[Mail]:
        """The mails that were enqueued."""
        return [one.mail for one in self.enqueued]

    @property
    def by_address(self) -> Mapping[str, Mail]:
        """The mail that each address is used in."""
        return {address: mail for mail in self.mails for address in mail.recipients}

    @property
    def log_lines(self) -> list[str]:
        """All lines of all logs."""
        return [line for lines in self.logs.values() for line in lines]
