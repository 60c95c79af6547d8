"""The states of a recipient and the only moves between them, as one table.

No other place assigns a state. `docs/states.md` is drawn from the same table.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a recipient stands. It is always in exactly one."""

    QUEUED = "queued"
    """Waits for its first attempt."""
    DEFERRED = "deferred"
    """Has been tried and waits for the next attempt."""
    SENDING = "sending"
    """Is leased to a worker."""
    HELD = "held"
    """Waits for an operator."""
    SENT = "sent"
    """The relay took responsibility. It does not say that the mail was delivered."""
    FAILED = "failed"
    """Refused for good."""
    EXPIRED = "expired"
    """The deadline passed before a relay took it."""
    CANCELLED = "cancelled"
    """Withdrawn before a relay took it."""

    @property
    def is_final(self) -> bool:
        """Whether only a named operator action leaves this state."""
        return self in FINAL


class Event(StrEnum):
    """What moves a recipient."""

    CLAIM = "claim"
    HAND_BACK = "hand-back"
    SEND = "send"
    DEFER = "defer"
    FAIL = "fail"
    GIVE_UP = "give-up"
    """The attempt just made was the last that the deadline leaves room for."""
    EXPIRE = "expire"
    """The deadline passed while the recipient waited."""
    HOLD_DOUBT = "hold-doubt"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    RETRY = "retry"
    FAIL_BY_HAND = "fail-by-hand"
    """An operator's `fail`: no relay refused the recipient, a person gave it up."""

    @property
    def is_operators(self) -> bool:
        """Whether a person decides this, by name, and not the daemon."""
        return self in OPERATOR_EVENTS

    @property
    def verb(self) -> str:
        """What a person calls it who decides it: the command."""
        return "fail" if self is Event.FAIL_BY_HAND else str(self)


OPERATOR_EVENTS = frozenset(
    {Event.HOLD, Event.RELEASE, Event.CANCEL, Event.RETRY, Event.FAIL_BY_HAND}
)
FINAL = frozenset({State.SENT, State.FAILED, State.EXPIRED, State.CANCELLED})
WAITING = frozenset({State.QUEUED, State.DEFERRED})

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.QUEUED: {
        Event.CLAIM: State.SENDING,
        Event.EXPIRE: State.EXPIRED,
        Event.HOLD: State.HELD,
        Event.CANCEL: State.CANCELLED,
        Event.RETRY: State.QUEUED,
        Event.FAIL_BY_HAND: State.FAILED,
    },
    State.DEFERRED: {
        Event.CLAIM: State.SENDING,
        Event.EXPIRE: State.EXPIRED,
        Event.HOLD: State.HELD,
        Event.CANCEL: State.CANCELLED,
        Event.RETRY: State.QUEUED,
        Event.FAIL_BY_HAND: State.FAILED,
    },
    State.SENDING: {
        Event.HAND_BACK: State.QUEUED,
        Event.SEND: State.SENT,
        Event.DEFER: State.DEFERRED,
        Event.FAIL: State.FAILED,
        Event.GIVE_UP: State.EXPIRED,
        Event.HOLD_DOUBT: State.HELD,
    },
    State.HELD: {
        Event.RELEASE: State.QUEUED,
        Event.CANCEL: State.CANCELLED,
        Event.RETRY: State.QUEUED,
        Event.FAIL_BY_HAND: State.FAILED,
    },
    State.SENT: {},
    State.FAILED: {Event.RETRY: State.QUEUED},
    State.EXPIRED: {Event.RETRY: State.QUEUED},
    State.CANCELLED: {Event.RETRY: State.QUEUED},
}


class IllegalMoveError(ValueError):
    """This event does not happen to a recipient in this state."""


def advance(state: State, event: Event, *, attempts: int = 0) -> State:
    """Return the state that ``event`` leads to.

    A recipient that goes back to waiting after charged ``attempts`` is deferred, not
    queued. Raises `IllegalMoveError` and moves nothing where the table has no such move.
    """
    try:
        target = TRANSITIONS[state][event]
    except KeyError:
        raise IllegalMoveError(f"{event} does not happen to a recipient that is {state}") from None
    if target is State.QUEUED and attempts > 0 and event is not Event.RETRY:
        return State.DEFERRED
    return target


def sources(event: Event) -> tuple[State, ...]:
    """Return the states that ``event`` can happen to, in the table's order."""
    return tuple(state for state, moves in TRANSITIONS.items() if event in moves)
