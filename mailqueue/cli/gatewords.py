"""The gates in words: what each says, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailqueue.cli.output import duration
from mailqueue.cli.rows import reason
from mailqueue.cli.verdicts import explanation
from mailqueue.cli.waiting import Surroundings, in_order
from mailqueue.mail.lifecycle import State
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.gate import Gate, Hold, Way
from mailqueue.outbox.pulse import Life, Pulse
from mailqueue.outbox.standing import Facts
from mailqueue.outbox.story import Action, Attempt, RecipientStory, Story


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient with its gates and all that is needed to speak of them.

    ``worker``: who has it leased, if anyone. What is None is not known, or not to come: when it
    goes and is given up (epoch microseconds), and how many attempts its schedule still has.
    ``ahead``: how many are due before it.
    """

    story: RecipientStory
    facts: Facts
    gates: tuple[Gate, ...]
    way: Way
    worker: Pulse | None
    goes_at: int | None
    gives_up_at: int | None
    attempts_left: int | None
    ahead: int


def words(gate: Gate, told: Told, around: Surroundings) -> str:
    """Return what ``gate`` says about this recipient, as a sentence without a full stop."""
    match gate.hold:
        case Hold.FINISHED:
            return _finished(told, around)
        case Hold.LEASED | Hold.LEASE_ENDED:
            return _leased(gate, told, around)
        case Hold.HELD | Hold.HELD_IN_DOUBT:
            return _held(gate, told, around)
        case Hold.NOT_YET_DUE:
            return _not_yet_due(gate, told, around)
        case Hold.RELAY_PAUSED | Hold.RELAY_PROBED:
            return _paused(gate, told, around)
        case Hold.RELAY_SUSPENDED:
            return _suspended(told, around)
    return _elsewhere(gate, told)


def _finished(told: Told, around: Surroundings) -> str:
    status = told.story.status
    when = "" if status.finished_at is None else f" {around.when(status.finished_at)}"
    last = in_order(told.story)[-1:]
    match status.state, last:
        case State.SENT, _:
            why = "the relay took responsibility; what became of it then, its log can tell"
        case State.CANCELLED | State.FAILED, [Action(actor=actor, reason=said)]:
            why = f"by {actor}" + (f": {said}" if said else "")
        case State.EXPIRED, _:
            why = "its time was over before a relay took it" + _last_reply(told, around)
        case _, [Attempt(rule=rule)]:
            why = f"{_said(told, around)}; rule {rule}: {explanation(rule) or 'not known here'}"
        case _:
            why = _said(told, around) or "no reply is on record"
    return f"nothing holds it any more: {status.state}{when}: {why}"


def _leased(gate: Gate, told: Told, around: Surroundings) -> str:
    status = told.story.status
    until = around.now if told.facts.due_at is None else told.facts.due_at
    whom = f"worker {status.worker}{_life(told.worker)}"
    if gate.hold is Hold.LEASE_ENDED:
        return (
            f"the lease of {whom} ended {around.when(until)} without a result: a daemon settles "
            "it, and until one runs it stays so"
        )
    dot = told.facts.dot_at
    stage = "" if dot is None else f"; its final dot was announced {around.when(dot)}"
    return f"it is being sent by {whom}, whose lease ends {around.when(until)}{stage}"


def _life(pulse: Pulse | None) -> str:
    if pulse is None:
        return " (of whom there is no row)"
    where = f"on {pulse.worker.host}, process {pulse.worker.pid}"
    match pulse.life:
        case Life.DEAD:
            return f" ({where}, which is dead: a daemon that starts settles it)"
        case Life.STALLED:
            return f" ({where}, not heard of for {duration(pulse.silent)})"
    return f" ({where})"


def _held(gate: Gate, told: Told, around: Surroundings) -> str:
    match in_order(told.story)[-1:]:
        case [Attempt(ended_at=at)] if gate.hold is Hold.HELD_IN_DOUBT:
            return f"it is held by doubt since {around.when(at)}: it may have been sent"
        case [Action(at=at, actor=actor, reason=said)]:
            why = f": {said}" if said else ""
            return f"it is held by {actor} since {around.when(at)}{why}"
    return "it is held, and nobody wrote down by whom"


def _not_yet_due(gate: Gate, told: Told, around: Surroundings) -> str:
    assert gate.opens_at is not None
    when = around.when(gate.opens_at)
    if told.story.status.last is None:
        return f"it is not due yet: to be sent {when}"
    doubt = ""
    match in_order(told.story)[-1:]:
        case [Attempt(verdict=verdict)] if verdict == Outcome.IN_DOUBT:
            doubt = "; it may have been sent already"
    return f"it is not due yet: deferred until {when}, after {_said(told, around)}{doubt}"


def _paused(gate: Gate, told: Told, around: Surroundings) -> str:
    row = told.way.row
    assert row is not None
    said = " ".join(filter(None, (str(row.code or ""), row.enhanced, row.text)))
    why = f", at {row.stage}: {said}" if said else ""
    since = f"relay {row.name} is paused since {around.when(row.since)}{why}"
    if gate.hold is Hold.RELAY_PROBED:
        return f"{since}; another mail is on its way to see whether it is well again"
    if gate.opens_at is None:
        return since
    return f"{since}; the next probe is {around.when(gate.opens_at)}"


def _suspended(told: Told, around: Surroundings) -> str:
    row = told.way.row
    assert row is not None
    assert row.paused_at is not None
    why = f": {row.pause_reason}" if row.pause_reason else ""
    end = "it is resumed" if row.paused_until is None else around.when(row.paused_until)
    since = around.when(row.paused_at)
    return f"{row.paused_by} has paused relay {row.name} since {since}, until {end}{why}"


def _elsewhere(gate: Gate, told: Told) -> str:
    name, way = told.facts.relay, told.way
    match gate.hold:
        case Hold.PAST_DEADLINE:
            return "its time is over: the daemon expires it, and tries it no more"
        case Hold.RELAY_UNKNOWN:
            return f"no relay is configured that is called {name}"
        case Hold.NO_DAEMON:
            return "no daemon is running that was heard of lately"
        case Hold.DISK_LOW:
            return "the disk is nearly full: the daemon takes up nothing, to write its results"
        case Hold.RATE_USED_UP:
            return f"the rate of its relay, {way.rate}, is used up by other mail just now"
        case Hold.SESSIONS_BUSY:
            return (
                f"all sessions are busy: {way.under_way} messages are under way, {way.room} may be"
            )
    ahead = f", with {told.ahead} before it" if told.ahead else ""
    by = f", through {way.stand_in} while its own relay is paused" if _is_diverted(way) else ""
    return f"nothing holds it: it is due{ahead}{by}"


def _is_diverted(way: Way) -> bool:
    return way.stand_in is not None and way.row is not None and way.row.breaker != "closed"


def _said(told: Told, around: Surroundings) -> str:
    return reason(told.story.status, around)


def _last_reply(told: Told, around: Surroundings) -> str:
    last = told.story.status.last
    return "" if last is None else f"; last answered {_said(told, around)}"


def advice(told: Told, of: Story) -> Iterator[str]:
    """Yield what a person can do, where anything is to be done."""
    hold, number = told.gates[0].hold, of.id
    if hold in _NOW_OR_LATER and any(gate.hold is Hold.RELAY_SUSPENDED for gate in told.gates):
        yield from _resuming(told)
        return
    match hold:
        case Hold.HELD:
            yield f"`mailqueue release {number}` lets it go on"
        case Hold.HELD_IN_DOUBT:
            yield (
                f"`mailqueue release {number}` sends it again, perhaps twice; "
                f"`mailqueue cancel {number}` leaves it at that"
            )
        case Hold.NOT_YET_DUE:
            yield f"`mailqueue retry {number}` tries at once"
        case Hold.RELAY_UNKNOWN:
            yield f"configure [relays.{told.facts.relay}], or cancel it and enqueue it anew"
        case Hold.RELAY_PAUSED | Hold.RELAY_PROBED:
            yield "`mailqueue doctor` tries the relay without sending anything"
        case Hold.NO_DAEMON | Hold.LEASE_ENDED:
            yield "start the daemon: `mailqueue run`, or its service"
        case Hold.DISK_LOW:
            yield "make room on its disk; `mailqueue prune` removes what is finished and old"
        case Hold.FINISHED if told.story.status.state in (State.FAILED, State.EXPIRED):
            yield f"`mailqueue show {number}` has it all, `mailqueue retry {number}` begins anew"


_NOW_OR_LATER = frozenset({Hold.NOT_YET_DUE, Hold.RELAY_SUSPENDED})


def _resuming(told: Told) -> Iterator[str]:
    if told.way.row is not None:
        yield f"`mailqueue resume {told.way.row.name}` lets mail go there again"
