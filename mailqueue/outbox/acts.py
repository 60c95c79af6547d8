"""What a person decides about recipients: hold, release, cancel, retry, fail; who, when, why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, insert, select, update

from mailqueue.mail.lifecycle import Event, State, advance, sources
from mailqueue.outbox.states import after
from mailqueue.outbox.tables import actions, contents, recipients

Selection = ColumnElement[bool]
"""Which recipients are meant: a condition on the table of recipients."""

GREATEST_ID: Final = 2**63 - 1


def of_messages(ids: Iterable[int]) -> Selection:
    """Select all recipients of these messages."""
    # A number that no row can have is no error of the database's: it finds nothing.
    return recipients.c.message_id.in_([number for number in ids if 0 <= number <= GREATEST_ID])


@dataclass(frozen=True, slots=True)
class Act:
    """What a decision did to one recipient.

    ``after`` is None where nothing was done, and ``refused`` says why. ``doubts``: how many of its
    attempts are in doubt, so that it may have been sent to already.
    """

    recipient: int
    message: int
    address: str
    before: State
    after: State | None = None
    refused: str = ""
    doubts: int = 0


def act(
    connection: Connection,
    selection: Selection,
    event: Event,
    *,
    actor: str,
    reason: str = "",
    now: int,
) -> list[Act]:
    """Let ``event`` happen to the recipients of ``selection``, and put it on record.

    Returns an act for every selected recipient, those that were left alone included, in
    the order of their ids. ``now`` in epoch microseconds. Raises `ValueError` for an
    event that is not an operator's.
    """
    if not event.is_operators:
        raise ValueError(f"{event} is for the daemon to decide")
    done = [
        each
        for state in _in_order(event)
        for each in _move(connection, selection, event, state, now)
    ]
    if done:
        connection.execute(
            insert(actions), [_row(each, event, actor, reason, now) for each in done]
        )
    left = _left_alone(connection, selection, event, {each.recipient for each in done})
    return sorted([*done, *left], key=lambda each: each.recipient)


def _in_order(event: Event) -> Sequence[State]:
    # Whoever is moved into a state must not be met there and moved once more.
    targets = {advance(state, event) for state in sources(event)}
    return sorted(sources(event), key=lambda state: state not in targets)


def _move(
    connection: Connection, selection: Selection, event: Event, state: State, now: int
) -> list[Act]:
    # One statement that writes at once, and no reading before it: it is right in whatever
    # kind of transaction the caller has, and tells for each row what it was before.
    columns = recipients.c
    statement = (
        update(recipients)
        .where(selection, columns.state == str(state), *conditions(event))
        .values(state=after(event), **changes(event, now))
        .returning(*_RETURNED)
    )
    rows = connection.execute(statement)
    return [
        Act(row.id, row.message_id, row.address, state, State(row.state), doubts=row.doubts)
        for row in rows
    ]


_RETURNED: Final = (
    recipients.c.id,
    recipients.c.message_id,
    recipients.c.address,
    recipients.c.state,
    recipients.c.doubts,
)


def conditions(event: Event) -> list[ColumnElement[bool]]:
    """Return what must hold of a recipient besides its state for ``event`` to happen to it."""
    return [_HAS_CONTENT] if event is Event.RETRY else []


_HAS_CONTENT = (
    select(contents.c.message_id).where(contents.c.message_id == recipients.c.message_id).exists()
)


def changes(event: Event, now: int) -> dict[str, Any]:
    """Return what becomes of the columns of a recipient, apart from its state."""
    start = case((recipients.c.lifetime_from > now, recipients.c.lifetime_from), else_=now)
    match event:
        case Event.HOLD:
            return {"due_at": None}
        case Event.CANCEL | Event.FAIL_BY_HAND:
            return {"due_at": None, "finished_at": now}
        case Event.RELEASE:
            # The time it was held is not taken off its lifetime: it would expire when released.
            return {"due_at": start, "lifetime_from": start}
        case _:
            # A retry is a new life, but doubts stay on record, as does a deadline still to come.
            deadline = recipients.c.expires_at
            return {
                "due_at": now,
                "lifetime_from": now,
                "attempts": 0,
                "finished_at": None,
                "expires_at": case((deadline > now, deadline), else_=None),
            }


def _row(act: Act, event: Event, actor: str, reason: str, now: int) -> dict[str, Any]:
    return {
        "recipient_id": act.recipient,
        "at": now,
        "verb": str(event),
        "actor": actor,
        "reason": reason,
        "from_state": str(act.before),
        "to_state": str(act.after),
    }


def _left_alone(
    connection: Connection, selection: Selection, event: Event, done: set[int]
) -> list[Act]:
    rows = connection.execute(select(*_RETURNED).where(selection))
    return [
        Act(
            row.id,
            row.message_id,
            row.address,
            State(row.state),
            refused=_why(event, row.state),
            doubts=row.doubts,
        )
        for row in rows
        if row.id not in done
    ]


def _why(event: Event, state: str) -> str:
    if State(state) in sources(event):
        return "its content has been pruned, so there is nothing left to send"
    return f"it is {state}, and {event.verb} does not happen to a recipient in that state"
