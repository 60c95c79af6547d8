"""Which gates a recipient has still to pass, in the order in which the daemon comes to them.

Pure: decides over values, which `mailqueue.outbox.standing` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailqueue.mail.lifecycle import WAITING, State
from mailqueue.outbox.relays import RelayRow


class Hold(StrEnum):
    """What holds a recipient; the names are part of the JSON of `mailqueue explain`."""

    FINISHED = "finished"
    """Nothing does: it is in a final state, and no daemon looks at it again."""
    LEASED = "leased"
    """A worker is sending to it."""
    LEASE_ENDED = "lease-ended"
    """The worker that had it died or stalled, and nobody has settled that yet."""
    HELD = "held"
    """A person put it aside."""
    HELD_IN_DOUBT = "held-in-doubt"
    """It may have been sent, and its sender wants no second try."""
    NOT_YET_DUE = "not-yet-due"
    PAST_DEADLINE = "past-deadline"
    """Its time is over, and the daemon will expire it."""
    RELAY_UNKNOWN = "relay-unknown"
    """No relay has the name that it carries."""
    RELAY_SUSPENDED = "relay-suspended"
    """A person has paused the relay."""
    RELAY_PAUSED = "relay-paused"
    """The breaker is open."""
    RELAY_PROBED = "relay-probed"
    """Another mail is on its way to see whether the relay is well again."""
    NO_DAEMON = "no-daemon"
    DISK_LOW = "disk-low"
    """The daemon claims nothing, so that results can still be written."""
    RATE_USED_UP = "rate-used-up"
    """The relay is offered as many recipients in a time as is configured, and no more."""
    SESSIONS_BUSY = "sessions-busy"
    """As much is under way to its relay as the daemon begins at once."""
    NEXT = "next"
    """Nothing does any more: it is claimed as soon as those before it are."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that holds a recipient, and when that ends (epoch microseconds).

    ``opens_at`` is None where it does not end by itself, or at no time that is known.
    """

    hold: Hold
    opens_at: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a recipient stands. Instants in epoch microseconds.

    ``deadline``: after it no attempt is begun; ``is_doubtful``: the last thing that happened
    to it is an attempt in doubt.
    """

    state: State
    due_at: int | None
    deadline: int
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """How things are with the relay that it is for.

    ``row``: what the daemon wrote of that relay; ``is_configured`` is None where nobody can tell;
    ``stand_in``: the fallback that takes its mail while it is paused; ``under_way``: messages
    leased for it; ``room``: how many may be, where that is known; ``rate``: that of the relay as it
    is written, and ``rate_free_at`` when it lets the next recipient go.
    """

    row: RelayRow | None = None
    is_configured: bool | None = None
    stand_in: str | None = None
    under_way: int = 0
    room: int | None = None
    rate: str | None = None
    rate_free_at: int | None = None


@dataclass(frozen=True, slots=True)
class House:
    """What concerns every mail: the time, whether a daemon runs, and whether its disk has room."""

    now: int
    has_daemon: bool = True
    disk_is_low: bool = False


def gates(standing: Standing, way: Way, house: House) -> tuple[Gate, ...]:
    """Return every gate that is closed, at least one: the first is the one that holds it.

    Those behind it are those that it would meet if the first opened now.
    """
    if standing.state not in WAITING:
        return (_elsewhere(standing, house),)
    found = (check(standing, way, house) for check in _IN_ORDER)
    closed = tuple(gate for gate in found if gate is not None)
    return closed or (Gate(Hold.NEXT, house.now),)


def goes_at(closed: Sequence[Gate], *, now: int) -> int | None:
    """Return when the next attempt is to be expected at the earliest; None if nobody can tell."""
    times = [gate.opens_at for gate in closed]
    known = [at for at in times if at is not None]
    return max(now, *known) if len(known) == len(times) else None


def _elsewhere(standing: Standing, house: House) -> Gate:
    match standing.state:
        case State.SENDING if standing.due_at is not None and standing.due_at > house.now:
            return Gate(Hold.LEASED)
        case State.SENDING:
            return Gate(Hold.LEASE_ENDED)
        case State.HELD:
            return Gate(Hold.HELD_IN_DOUBT if standing.is_doubtful else Hold.HELD)
    return Gate(Hold.FINISHED)


def _due(standing: Standing, _way: Way, house: House) -> Gate | None:
    if standing.due_at is None or standing.due_at <= house.now:
        return None
    return Gate(Hold.NOT_YET_DUE, standing.due_at)


def _deadline(standing: Standing, _way: Way, house: House) -> Gate | None:
    return Gate(Hold.PAST_DEADLINE) if standing.deadline <= house.now else None


def _known(_standing: Standing, way: Way, _house: House) -> Gate | None:
    return Gate(Hold.RELAY_UNKNOWN) if way.is_configured is False else None


def _operator(_standing: Standing, way: Way, house: House) -> Gate | None:
    if way.row is None or not way.row.is_paused(now=house.now):
        return None
    return Gate(Hold.RELAY_SUSPENDED, way.row.paused_until)


def _breaker(_standing: Standing, way: Way, house: House) -> Gate | None:
    if way.row is None or way.row.breaker == "closed" or way.stand_in is not None:
        return None
    if way.row.breaker == "probing":
        return Gate(Hold.RELAY_PROBED)
    probe_at = way.row.probe_at
    return Gate(Hold.RELAY_PAUSED, None if probe_at is None else max(probe_at, house.now))


def _daemon(_standing: Standing, _way: Way, house: House) -> Gate | None:
    return None if house.has_daemon else Gate(Hold.NO_DAEMON)


def _disk(_standing: Standing, _way: Way, house: House) -> Gate | None:
    return Gate(Hold.DISK_LOW) if house.disk_is_low else None


def _rate(_standing: Standing, way: Way, house: House) -> Gate | None:
    if way.rate is None or way.rate_free_at is None or way.rate_free_at <= house.now:
        return None
    return Gate(Hold.RATE_USED_UP, way.rate_free_at)


def _sessions(_standing: Standing, way: Way, _house: House) -> Gate | None:
    is_full = way.room is not None and way.under_way >= way.room
    return Gate(Hold.SESSIONS_BUSY) if is_full else None


_IN_ORDER: Final[tuple[Callable[[Standing, Way, House], Gate | None], ...]] = (
    _due,
    _deadline,
    _known,
    # Mail for a relay that a person has paused goes to no fallback either.
    _operator,
    _breaker,
    _daemon,
    _disk,
    _rate,
    _sessions,
)
