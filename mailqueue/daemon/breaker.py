"""A relay's breaker: trouble that is not the message's pauses the relay and charges nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mailqueue.clock import microseconds
from mailqueue.config import BreakerSettings
from mailqueue.mail.reply import Answer, Evidence, Reply, Unsendable
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox.relays import RelayRow

_ROOM_ENOUGH = 10_000
"""More than any relay is given at once, so that counting can end."""


class Position(StrEnum):
    """``CLOSED`` lets mail through; ``OPEN`` does not; ``PROBING``: one message tries."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a breaker stands. Instants in epoch microseconds.

    ``since``: the first trouble of those that keep it open, or since when it is closed; 0 before
    it begins.
    ``troubles``: pauses in a row, which the length of the next one follows.
    ``session_troubles``: sessions in a row that ended badly while it was closed.
    ``room``: how many transactions it lets through at once, which grows with each success
    after a pause, so that a relay that just came back is not met by the whole backlog.
    """

    position: Position = Position.CLOSED
    since: int = 0
    probe_at: int = 0
    troubles: int = 0
    session_troubles: int = 0
    room: int | None = None
    evidence: Evidence | None = None
    last_trouble_at: int | None = None


class Breaker:
    """Holds one relay's condition and moves it; it neither waits nor writes."""

    def __init__(self, relay: str, settings: BreakerSettings) -> None:
        self.relay = relay
        self.settings = settings
        self.condition = Condition()
        self.last_success_at: int | None = None
        self.is_shared = False
        """Whether other daemons send there too: a probe needs leave then, so that only one goes."""
        self.has_leave = False
        self.is_ours_alone = False
        """Whether the trouble is met here and not by others, whom it should not stop."""
        self.shown: Condition | None = None
        """What others can read of it."""
        self._disproved_at: int | None = None
        self._found: RelayRow | None = None

    def begin(self, *, now: int) -> None:
        """Note that the relay is there from ``now`` on, unless that was noted before."""
        if not self.condition.since:
            self.condition = replace(self.condition, since=now)

    @property
    def is_closed(self) -> bool:
        """Whether mail goes through."""
        return self.condition.position is Position.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether no mail goes through, and none is on its way to see."""
        return self.condition.position is Position.OPEN

    @property
    def is_shown(self) -> bool:
        """Whether others can read how it is; how much goes through at once is nobody else's."""
        return self.shown is not None and _outside(self.shown) == _outside(self.condition)

    @property
    def is_news(self) -> bool:
        """Whether its position is to be written: nobody else does, or it has moved for all."""
        return not self.is_shared or not (self.is_ours_alone or self.is_shown)

    def has_shown(self, row: RelayRow) -> bool:
        """Whether ``row`` says what was written here."""
        said = (row.breaker, row.probe_at, row.troubles)
        return self.shown is not None and _outside(self.shown) == said

    def room(self, in_flight: int, limit: int, *, now: int) -> int:
        """Return how many more transactions may begin at ``now``, with ``in_flight`` under way."""
        condition = self.condition
        match condition.position:
            case Position.CLOSED:
                most = limit if condition.room is None else min(limit, condition.room)
                return max(0, most - in_flight)
            case Position.OPEN if self._may_probe(now):
                return 1
            case _:
                return 0

    def _may_probe(self, now: int) -> bool:
        if self.is_shared and not (self.has_leave or self.is_ours_alone):
            return False
        return self.is_time_to_probe(now)

    def is_time_to_probe(self, now: int) -> bool:
        """Whether the pause is over at ``now``."""
        # No pause is longer than the maximum: one that seems to be was begun by a clock that has
        # been set back since, and would last until that clock's time comes.
        left = self.condition.probe_at - now
        return left <= 0 or left > microseconds(self.settings.maximum)

    def wakes_at(self) -> int | None:
        """Return when it lets a probe through (epoch microseconds), or None."""
        return self.condition.probe_at if self.condition.position is Position.OPEN else None

    def probe(self) -> None:
        """Note that one message has been sent on its way to see."""
        self.has_leave = False
        if self.condition.position is Position.OPEN:
            self.condition = replace(self.condition, position=Position.PROBING)

    def probe_ended(self) -> None:
        """Note that the probe ended without telling anything; the next may go at once."""
        if self.condition.position is Position.PROBING:
            self.condition = replace(self.condition, position=Position.OPEN)

    def success(self, *, now: int) -> float | None:
        """Note that the relay took part in a transaction.

        Returns the seconds for which it had been paused where this closes it, else None.
        """
        self.last_success_at = now
        condition = self.condition
        if condition.position is Position.CLOSED:
            # As a rule there is nothing to change, and this is on the way of every message.
            if condition.session_troubles or condition.room is not None:
                self.condition = replace(condition, session_troubles=0, room=_grown(condition.room))
            return None
        # What goes through from here is no trouble of ours alone, and was none.
        self.is_ours_alone, self._disproved_at = False, None
        return self._close(now)

    def _close(self, now: int) -> float:
        condition, self.has_leave = self.condition, False
        self.condition = Condition(
            since=now,
            room=2,
            evidence=condition.evidence,
            last_trouble_at=condition.last_trouble_at,
        )
        return max(0, now - condition.since) / 1e6

    def relay_trouble(self, evidence: Evidence, *, now: int, jitter: float) -> float | None:
        """Note trouble that every mail would meet; returns the pause in seconds.

        None where the breaker was open already: transactions that were under way when it
        opened bring the same news and do not lengthen the pause.
        """
        condition = self.condition
        if condition.position is Position.OPEN:
            self.condition = replace(condition, evidence=evidence, last_trouble_at=now)
            return None
        return self._open(evidence, now=now, jitter=jitter)

    def session_trouble(self, evidence: Evidence, *, now: int, jitter: float) -> float | None:
        """Note a session that ended badly; returns the pause in seconds if that opens it."""
        condition = self.condition
        if condition.position is Position.PROBING:
            return self._open(evidence, now=now, jitter=jitter)
        count = condition.session_troubles + 1
        self.condition = replace(condition, session_troubles=count)
        if condition.position is Position.CLOSED and count >= self.settings.session_troubles:
            return self._open(evidence, now=now, jitter=jitter)
        return None

    def _open(self, evidence: Evidence, *, now: int, jitter: float) -> float:
        condition = self.condition
        settings = self.settings
        self.has_leave = False
        self.is_ours_alone = self._was_disproved(now)
        pauses = Backoff(settings.initial, settings.factor, settings.maximum)
        pause = pauses.delay(condition.troubles + 1, jitter)
        self.condition = Condition(
            position=Position.OPEN,
            since=now if condition.troubles == 0 else condition.since,
            probe_at=now + microseconds(pause),
            troubles=condition.troubles + 1,
            evidence=evidence,
            last_trouble_at=now,
        )
        return pause

    def _was_disproved(self, now: int) -> bool:
        at, most = self._disproved_at, microseconds(self.settings.maximum)
        return self.is_shared and at is not None and 0 <= now - at < most

    def adopt(self, row: RelayRow, *, now: int) -> float | None:
        """Take up what another daemon has found.

        Returns the seconds of its pause where that opens it, or for which the relay had been
        paused where that closes it, else None.
        """
        if row.breaker == Position.CLOSED:
            if self.is_closed or self.is_ours_alone:
                return None
            return self._closed_by_another(now)
        was_closed = self.is_closed
        if self.condition.position is Position.PROBING:
            return None
        # The length of the pause, and not its end: that was told by another host's clock.
        since = now if row.last_trouble_at is None else row.last_trouble_at
        pause = 0 if row.probe_at is None else max(0, row.probe_at - since)
        self._found = row
        self.condition = Condition(
            position=Position.OPEN,
            since=now if was_closed else self.condition.since,
            probe_at=now + pause,
            troubles=row.troubles,
            last_trouble_at=row.last_trouble_at,
        )
        self.is_ours_alone = False
        return pause / 1e6 if was_closed else None

    def _closed_by_another(self, now: int) -> float:
        condition = self.condition
        begun = condition.last_trouble_at
        if condition.evidence is not None and begun is not None:
            # In no time after we met it: what is in our way is not in theirs.
            soon = microseconds(self.settings.initial) // 2
            self._disproved_at = now if now - begun < soon else None
        return self._close(now)

    def resume(self, row: RelayRow, *, now: int) -> None:
        """Take up what an earlier daemon left: still paused, but one message may probe at once."""
        self._found = row
        is_closed = row.breaker == Position.CLOSED
        self.condition = Condition(
            position=Position.CLOSED if is_closed else Position.OPEN,
            since=row.since,
            probe_at=0 if is_closed else now,
            troubles=0 if is_closed else row.troubles,
            last_trouble_at=row.last_trouble_at,
        )
        self.last_success_at = row.last_success_at

    def allow_probe(self, *, now: int) -> None:
        """Let one message probe at once, as after a change of configuration."""
        if self.condition.position is Position.OPEN:
            self.condition = replace(self.condition, probe_at=now)

    def row(self) -> RelayRow:
        """Return the condition as the row that SQL sees."""
        condition = self.condition
        row = RelayRow(
            name=self.relay,
            breaker=str(condition.position),
            since=condition.since,
            probe_at=self.wakes_at(),
            troubles=condition.troubles,
            last_trouble_at=condition.last_trouble_at,
            last_success_at=self.last_success_at,
        )
        return replace(row, **self._last_trouble())

    def _last_trouble(self) -> dict[str, Any]:
        evidence, found = self.condition.evidence, self._found
        if evidence is not None:
            return {"stage": str(evidence.stage), **_words(evidence.answer)}
        if found is None:
            return {}
        # What an earlier daemon met: until there is news, it is why the relay is paused.
        return {name: getattr(found, name) for name in ("stage", "code", "enhanced", "text")}


def _outside(condition: Condition) -> tuple[str, int | None, int]:
    """Return what of it stands in the row."""
    is_open = condition.position is Position.OPEN
    return str(condition.position), condition.probe_at if is_open else None, condition.troubles


def _grown(room: int | None) -> int | None:
    return None if room is None or room >= _ROOM_ENOUGH else room + 1


def _words(answer: Answer) -> dict[str, Any]:
    enhanced = answer.enhanced if isinstance(answer, Reply | Unsendable) else None
    return {
        "code": answer.code if isinstance(answer, Reply) else None,
        "enhanced": None if enhanced is None else str(enhanced),
        "text": answer.text if isinstance(answer, Reply) else str(answer),
    }
