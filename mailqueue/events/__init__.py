"""What happens, as values. Code emits them; `wording` says them in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailqueue.mail.decision import Decision
from mailqueue.mail.reply import Evidence
from mailqueue.mail.value import value


@value
class RecipientAnswered:
    """One recipient has left a transaction with a decision. ``delay`` in seconds since enqueue."""

    message: int
    header_message_id: str
    sender: str
    recipient: str
    relay: str
    peer: str
    delay: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class RecipientExpired:
    """A recipient's deadline passed while it waited."""

    message: int
    recipient: str
    relay: str


@dataclass(frozen=True, slots=True)
class LeaseReaped:
    """A lease ran out, or its worker is dead, and the recipient was settled without it."""

    message: int
    recipient: str
    worker: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class ResultRefused:
    """A result came after its lease had gone to somebody else; it changed nothing."""

    message: int
    recipient: str
    relay: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class RelayPaused:
    """A breaker opened or stays open. ``pause`` in seconds until the next probe."""

    relay: str
    evidence: Evidence
    pause: float


@dataclass(frozen=True, slots=True)
class RelayPausedElsewhere:
    """Another daemon has met trouble at a relay, which is paused here too for that.

    ``stage`` and ``text`` are those of the trouble; ``pause`` in seconds until the next probe.
    """

    relay: str
    stage: str
    text: str
    pause: float


@dataclass(frozen=True, slots=True)
class RelayResumed:
    """A probe succeeded. ``paused`` in seconds."""

    relay: str
    paused: float


@dataclass(frozen=True, slots=True)
class PipeliningSuspended:
    """Sessions kept ending over groups of commands: for ``pause`` seconds there are none."""

    relay: str
    pause: float


@dataclass(frozen=True, slots=True)
class PauseBegun:
    """An operator has paused a relay. ``until`` in epoch microseconds; None: until resumed."""

    relay: str
    by: str
    reason: str
    until: int | None


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """An operator's pause of a relay is over: resumed, or at its end."""

    relay: str


@dataclass(frozen=True, slots=True)
class FencePutUp:
    """The outbox is being copied, or was: nothing is claimed. ``fence`` says from or to where."""

    fence: str


@dataclass(frozen=True, slots=True)
class FenceTakenAway:
    """Mail may be claimed again."""


@dataclass(frozen=True, slots=True)
class RelayUnknown:
    """Mail waits for a relay that is not configured."""

    relay: str


@dataclass(frozen=True, slots=True)
class DatabaseTrouble:
    """The outbox could not be read or written; it is tried again."""

    what: str
    error: str


@dataclass(frozen=True, slots=True)
class DatabaseRecovered:
    """The outbox can be written again. ``trouble`` in seconds."""

    trouble: float


@dataclass(frozen=True, slots=True)
class DiskLow:
    """Less than the floor is free: nothing more is claimed, so that results can be written."""

    free: int
    floor: int


@dataclass(frozen=True, slots=True)
class DiskRecovered:
    """There is room again; ``free`` in bytes."""

    free: int


@dataclass(frozen=True, slots=True)
class LogPinned:
    """SQLite's log cannot be emptied for somebody's long reading. ``size`` in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class PartFailed:
    """A part of the daemon raised what it should not; it goes on."""

    part: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """One of several daemon processes has ended; another begins after ``pause`` seconds."""

    name: str
    status: int
    pause: float


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon takes mail."""

    worker: str
    database: str
    relays: tuple[str, ...]
    reaped: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """The daemon claims no more. ``waiting`` transactions are past their final dot."""

    reason: str
    waiting: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The daemon has ended in order."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A new configuration is in force."""

    source: str


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """The new configuration cannot be used; the old one stays."""

    problem: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """Finished mail has outlived its retention."""

    contents: int
    messages: int


Event = (
    RecipientAnswered
    | RecipientExpired
    | LeaseReaped
    | ResultRefused
    | RelayPaused
    | RelayPausedElsewhere
    | RelayResumed
    | PipeliningSuspended
    | PauseBegun
    | PauseEnded
    | FencePutUp
    | FenceTakenAway
    | RelayUnknown
    | DatabaseTrouble
    | DatabaseRecovered
    | DiskLow
    | DiskRecovered
    | LogPinned
    | PartFailed
    | ProcessEnded
    | Started
    | Stopping
    | Stopped
    | Reloaded
    | ReloadRefused
    | Pruned
)

Emit = Callable[[Event], None]
"""Where events go. Never blocks and never raises."""
