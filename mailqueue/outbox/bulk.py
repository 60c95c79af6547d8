"""What a person decides about very many recipients: chosen once, then moved batch by batch."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    update,
)

from mailqueue.mail.lifecycle import Event, State
from mailqueue.outbox.acts import Selection, changes, conditions
from mailqueue.outbox.states import after
from mailqueue.outbox.tables import actions, recipients

PAGE: Final = 10_000
"""Ids fetched from the database's cursor at a time."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many recipients were selected, by state and by the name of the relay in their row.

    ``in_doubt``: how many of them have an attempt in doubt on record: they may have been sent to.
    """

    by_state_and_relay: Counter[tuple[State, str]] = field(default_factory=Counter)
    in_doubt: int = 0

    @property
    def total(self) -> int:
        """How many in all."""
        return self.by_state_and_relay.total()

    @property
    def by_state(self) -> dict[State, int]:
        """How many in each state that somebody is in, in the order of the states."""
        found = self._counted(0)
        return {state: found[state] for state in State if found[state]}

    @property
    def by_relay(self) -> dict[str, int]:
        """How many for each relay."""
        return dict(sorted(self._counted(1).items()))

    def _counted(self, position: int) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for key, count in self.by_state_and_relay.items():
            found[key[position]] += count
        return found


def tally(connection: Connection, selection: Selection) -> Tally:
    """Count the recipients of ``selection``, in one statement."""
    columns = recipients.c
    doubtful = func.sum(case((columns.doubts > 0, 1), else_=0))
    statement = select(columns.state, columns.relay, func.count(), doubtful)
    rows = connection.execute(
        statement.where(selection).group_by(columns.state, columns.relay)
    ).all()
    counted = Counter({(State(state), relay): count for state, relay, count, _ in rows})
    return Tally(counted, sum(doubts for *_, doubts in rows))


def applicable(selection: Selection, event: Event, states: Collection[State]) -> Selection:
    """Narrow ``selection`` to those in ``states`` to whom ``event`` can happen."""
    parts = [selection, recipients.c.state.in_(map(str, states)), *conditions(event)]
    if not any(state.is_final for state in states):
        # It follows from the states, but the index of the unfinished asks for it in words.
        parts.append(recipients.c.finished_at.is_(None))
    return and_(*parts)


def chosen(connection: Connection, selection: Selection) -> array[int]:
    """Return the ids of the recipients of ``selection`` in their order: eight octets for each."""
    # Options of the connection would bind every statement after this one as well.
    statement = select(recipients.c.id).where(selection).execution_options(yield_per=PAGE)
    found = connection.scalars(statement)
    ids = array("q")
    for page in found.partitions():
        ids.extend(page)
    return array("q", sorted(ids))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided: the event, by whom and why."""

    event: Event
    actor: str
    reason: str = ""


def move(
    connection: Connection,
    ids: Sequence[int],
    selection: Selection,
    decision: Decision,
    *,
    now: int,
) -> int:
    """Let the event happen to those of ``ids`` who are still in ``selection``, on the record.

    ``selection`` is what `applicable` returned: whoever has been claimed, or answered, since the
    ids were chosen is left alone. Two statements, however many they are. Returns for how many it
    happened.
    """
    # In a CASE no index fits the selection: that of a relay would be walked for each batch anew.
    meant = and_(recipients.c.id.in_(_IDS), case((selection, 1), else_=0) == 1)
    recorded = insert(actions).from_select(_RECORDED, _record(meant, decision, now))
    met = [*connection.scalars(recorded.returning(actions.c.recipient_id), {"ids": [*ids]})]
    event = decision.event
    moved = update(recipients).where(recipients.c.id.in_(_IDS))
    connection.execute(moved.values(state=after(event), **changes(event, now)), {"ids": met})
    return len(met)


# Written out, because a statement has room for only so many parameters.
_IDS: Final[Any] = bindparam("ids", expanding=True, literal_execute=True)
_RECORDED: Final = (
    "recipient_id",
    "at",
    "verb",
    "actor",
    "reason",
    "from_state",
    "to_state",
)


def _record(meant: ColumnElement[bool], decision: Decision, now: int) -> Any:
    columns = recipients.c
    return (
        select(
            columns.id,
            literal(now),
            literal(str(decision.event)),
            literal(decision.actor),
            literal(decision.reason),
            columns.state,
            after(decision.event),
        )
        .where(meant)
        # In PostgreSQL nobody may change them before the second statement does.
        .with_for_update(of=recipients)
    )
