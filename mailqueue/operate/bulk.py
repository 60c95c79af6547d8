"""Verbs for everybody whom a filter selects, however many they are."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from mailqueue.clock import Clock
from mailqueue.errors import FilterError
from mailqueue.mail.lifecycle import WAITING, Event, State, sources
from mailqueue.operate.access import Access
from mailqueue.operate.stride import Stride
from mailqueue.outbox.acts import Selection
from mailqueue.outbox.bulk import Decision, Tally, applicable, chosen, move, tally
from mailqueue.outbox.filter import Filter, condition
from mailqueue.outbox.lookup import Listed, listing
from mailqueue.outbox.moment import moment
from mailqueue.outbox.relays import default_of, load
from mailqueue.outbox.tables import recipients


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of those chosen: ``moved`` as decided, the others had changed meanwhile."""

    chosen: int
    moved: int

    @property
    def left_alone(self) -> int:
        """How many had been claimed, answered or decided upon before it came to them."""
        return self.chosen - self.moved


@dataclass(frozen=True, slots=True)
class Step:
    """How far a verb has come: ``done`` of the chosen looked at, ``moved`` of them so far."""

    done: int
    moved: int


class Choice:
    """The recipients that one verb is about: chosen now, and no others later.

    So what is done is what was counted before. Iterating over `steps` does it.
    """

    def __init__(
        self,
        access: Access,
        selection: Selection,
        decision: Decision,
        *,
        ids: array[int],
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.tally = tally
        self._access = access
        self._selection = selection
        self._decision = decision
        self._ids = ids
        self._clock = clock

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self._ids)

    def first(self, count: int) -> list[Listed]:
        """Return the first ``count`` of them, as they stand now."""
        among = recipients.c.id.in_(self._ids[:count])
        with self._access.reading() as connection:
            return [*listing(connection, where=among, limit=count)]

    def all(self) -> Moved:
        """Do it to all of them."""
        moved = 0
        for step in self.steps():
            moved = step.moved
        return Moved(len(self), moved)

    def steps(self) -> Iterator[Step]:
        """Do it, and yield after each transaction how far it has come.

        Whoever stops iterating ends it there: what was yielded is committed, and nothing else is
        done. Each transaction is short, and others get their turn in between. Raises `OutboxError`.
        """
        stride, done, moved = Stride(), 0, 0
        while done < len(self):
            part = self._ids[done : done + stride.size]
            count, waited, held = self._move(part)
            moved += count
            done += len(part)
            yield Step(done, moved)
            stride = stride.after(held)
            if done < len(self):
                _let_others_write(stride.pause(held, waited=waited))

    def _move(self, part: Sequence[int]) -> tuple[int, float, float]:
        """Return how many were moved, and the seconds of waiting for the lock and of holding it."""
        asked = self._clock.monotonic()
        with self._access.writing() as connection:
            begun = self._clock.monotonic()
            self._access.ring_after_commit(connection)
            now = moment(connection, self._clock)
            count = move(connection, part, self._selection, self._decision, now=now)
        return count, begun - asked, self._clock.monotonic() - begun


def _let_others_write(seconds: float) -> None:
    # SQLite's lock has no queue. Who waits for it looks now and then, and if we took it again at
    # once would find it taken each time.
    threading.Event().wait(seconds)


class Bulk:
    """The verbs of an `Operator` for everybody whom a filter selects.

    Each is done to whom it can be done to: those in another state, and those being sent to at this
    moment, are left alone. Raises `FilterError` where the filter names only states that the verb
    is not for, and `OutboxError`.
    """

    def __init__(
        self,
        access: Access,
        wanted: Filter,
        *,
        actor: str,
        clock: Clock,
        default_relay: str | None = None,
    ) -> None:
        self._access = access
        self._wanted = wanted
        self._actor = actor
        self._clock = clock
        self._default_relay = default_relay

    def count(self) -> Tally:
        """Count all whom the filter selects, in whatever state."""
        with self._access.reading() as connection:
            return tally(connection, self._selection(connection))

    def hold(self, *, reason: str = "") -> Moved:
        """Keep those who wait from being sent to until they are released."""
        return self.choose(Event.HOLD, reason=reason).all()

    def release(self, *, reason: str = "") -> Moved:
        """Let those who are held go on; those held in doubt may be sent to twice."""
        return self.choose(Event.RELEASE, reason=reason).all()

    def cancel(self, *, reason: str = "") -> Moved:
        """Withdraw the mail from all who wait or are held; the filter must leave somebody out."""
        self._check_narrow("cancel")
        return self.choose(Event.CANCEL, reason=reason).all()

    def fail(self, *, reason: str = "") -> Moved:
        """Give up all who wait or are held, as failed for good; the filter must leave somebody
        out.
        """
        self._check_narrow("fail")
        return self.choose(Event.FAIL_BY_HAND, reason=reason).all()

    def retry(self, *, reason: str = "") -> Moved:
        """Begin anew, at once, with those who wait.

        Those who are held, failed, expired or cancelled only where the filter names that state.
        """
        return self.choose(Event.RETRY, reason=reason).all()

    def _check_narrow(self, verb: str) -> None:
        if self._wanted.is_empty:
            remedy = f"name some field, or {verb} would end all mail that there is"
            raise FilterError("everybody", "Filter()", remedy)

    def choose(self, event: Event, *, reason: str = "") -> Choice:
        """Choose to whom ``event`` shall happen, and do nothing yet."""
        states = states_for(event, self._wanted)
        with self._access.reading() as connection:
            selection = applicable(self._selection(connection), event, states)
            counted, ids = tally(connection, selection), chosen(connection, selection)
        return Choice(
            self._access,
            selection,
            Decision(event, self._actor, reason),
            ids=ids,
            tally=counted,
            clock=self._clock,
        )

    def _selection(self, connection: Connection) -> Selection:
        default = default_of(load(connection).values(), self._default_relay)
        now = moment(connection, self._clock)
        return condition(self._wanted, now=now, default_relay=default)


def states_for(event: Event, wanted: Filter) -> tuple[State, ...]:
    """Return the states in which ``event`` is meant to meet those whom ``wanted`` selects.

    A retry of mail that has come to an end, or that somebody holds, has to be asked for by naming
    the state or the message: to try every refusal again would hurt the sender, and what is held in
    doubt would be sent twice. Raises `FilterError` where the event happens in none of those named.
    """
    possible = sources(event)
    if not wanted.states:
        is_asked_for = event is not Event.RETRY or wanted.message is not None
        return tuple(state for state in possible if is_asked_for or state in WAITING)
    states = tuple(state for state in possible if state in wanted.states)
    if not states:
        remedy = f"{event.verb} happens to those who are {', '.join(possible)}"
        raise FilterError("state", ", ".join(wanted.states), remedy)
    return states
