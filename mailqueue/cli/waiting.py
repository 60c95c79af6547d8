"""What a recipient waits for, and until when, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from mailqueue.cli.output import instant, relative
from mailqueue.mail.lifecycle import Event, State
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.holds import Hold
from mailqueue.outbox.lookup import RecipientStatus
from mailqueue.outbox.relays import RelayRow, default_of
from mailqueue.outbox.story import Action, Attempt, RecipientStory
from mailqueue.outbox.tables import DEFAULT_RELAY

_WAITING = (State.QUEUED, State.DEFERRED)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known besides the message: the relays' rows, the default relay's name, the time.

    ``default`` is that of the configuration, None where none was read; what the daemon wrote
    into the rows goes before it. ``configured``: the names of its relays. ``now`` in epoch
    microseconds.
    """

    relays: Mapping[str, RelayRow]
    default: str | None
    now: int
    configured: Collection[str] | None = None
    holds: dict[int, Hold] = field(default_factory=dict)
    """Who holds whom, by recipient, as far as somebody has looked it up."""

    def relay(self, name: str) -> RelayRow | None:
        """Return the row of the relay that takes mail of this name, as far as it is known."""
        return self.relays.get(self.relay_name(name))

    def relay_name(self, name: str) -> str:
        """Return what the relay is called that takes mail of this name, as far as it is known."""
        return self.default_relay or name if name == DEFAULT_RELAY else name

    def is_configured(self, name: str) -> bool | None:
        """Whether there is a relay for mail of this name; None where nobody can tell."""
        # A daemon shows every relay that it has, and no other.
        known = self.relays if self.configured is None else self.configured
        found = self.relay_name(name)
        is_unknown = not known or (found == DEFAULT_RELAY and found not in known)
        return None if is_unknown else found in known

    @property
    def default_relay(self) -> str | None:
        """The name of the default relay, as far as rows and configuration say it."""
        return default_of(self.relays.values(), self.default)

    def when(self, at: int) -> str:
        """Return an instant, and how far it is from now."""
        return f"{instant(at)} ({relative(at, self.now)})"


def waits_for(told: RecipientStory, around: Surroundings) -> Iterator[str]:
    """Yield what keeps this recipient from its next attempt; nothing if it is final."""
    match told.status.state:
        case State.SENDING:
            yield _leased(told, around)
        case State.HELD:
            yield _held(told, around)
        case state if state in _WAITING:
            yield _due(told, around)
            if sentence := stranger(told.status, around):
                yield sentence
            yield from _paused(told.status.relay, around)


def _leased(told: RecipientStory, around: Surroundings) -> str:
    worker, until = str(told.status.worker), told.status.due_at or around.now
    if until > around.now:
        return f"being sent by worker {worker}, whose lease ends {around.when(until)}"
    return (
        f"the lease of worker {worker} ended {around.when(until)} without a result: waits for a "
        "daemon to settle it"
    )


def _due(told: RecipientStory, around: Surroundings) -> str:
    attempt = "first attempt" if told.status.last is None else "next attempt"
    due_at = told.status.due_at
    if due_at is None:
        return f"waits for its {attempt}, which has no time: a fault in its row"
    if due_at > around.now:
        return f"waits for its {attempt} {around.when(due_at)}"
    return f"its {attempt} has been due since {around.when(due_at)}: waits for a daemon to take it"


def _paused(name: str, around: Surroundings) -> Iterator[str]:
    row = around.relay(name)
    if row is not None and row.is_paused(now=around.now):
        yield f"{_by_hand(row, around)}; `mailqueue resume {row.name}` lets it go on"
    if row is None or row.breaker == "closed":
        return
    yield f"relay {row.name} is paused since {around.when(row.since)}"
    if row.text is not None:
        yield f"its last trouble, at {row.stage!s}: {_said(row)}"
    if row.breaker == "probing":
        yield "one mail is on its way to probe it"
    elif row.probe_at is not None:
        yield f"its next probe is {around.when(row.probe_at)}"


def pause(recipient: RecipientStatus, around: Surroundings) -> str:
    """Say in one sentence that the relay of a recipient that waits is paused; empty if not."""
    row = around.relay(recipient.relay)
    if row is None or recipient.state not in _WAITING:
        return ""
    if row.is_paused(now=around.now):
        return suspension(recipient, around)
    if row.breaker == "closed":
        return ""
    return f"relay {row.name} is paused" + (f": {_said(row)}" if row.text is not None else "")


def suspension(recipient: RecipientStatus, around: Surroundings) -> str:
    """Say in one sentence that a person has paused its relay, if it waits; empty if not."""
    row = around.relay(recipient.relay)
    if row is None or recipient.state not in _WAITING or not row.is_paused(now=around.now):
        return ""
    return _by_hand(row, around)


def stranger(recipient: RecipientStatus, around: Surroundings) -> str:
    """Say in one sentence that there is no such relay, if it waits for one; empty if not."""
    if recipient.state in _WAITING and around.is_configured(recipient.relay) is False:
        return f"relay {around.relay_name(recipient.relay)} is not configured"
    return ""


def _by_hand(row: RelayRow, around: Surroundings) -> str:
    until = "" if row.paused_until is None else f" until {around.when(row.paused_until)}"
    why = f": {row.pause_reason}" if row.pause_reason else ""
    return f"relay {row.name} is paused by {row.paused_by}{until}{why}"


def _said(row: RelayRow) -> str:
    return " ".join(filter(None, (str(row.code or ""), row.enhanced, row.text)))


def _held(told: RecipientStory, around: Surroundings) -> str:
    match in_order(told)[-1:]:
        case [Action(at=at, verb=Event.HOLD, actor=actor, reason=reason)]:
            why = f": {reason}" if reason else ""
            return f"held by {actor} since {around.when(at)}{why}; `release` lets it go on"
        case [Attempt(ended_at=at, verdict=Outcome.IN_DOUBT)]:
            return (
                f"held by doubt since {around.when(at)}: it may have been sent, and nobody but the "
                "relay knows; `release` sends it again, `cancel` leaves it at that"
            )
    return "held; `release` lets it go on"


def in_order(told: RecipientStory) -> list[Attempt | Action]:
    """Return what was tried and what operators did, oldest first."""
    return sorted((*told.attempts, *told.actions), key=_when)


def _when(event: Attempt | Action) -> int:
    return event.at if isinstance(event, Action) else event.ended_at
