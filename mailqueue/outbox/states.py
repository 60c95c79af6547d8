"""The lifecycle table as SQL, so that no statement spells a state on its own."""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, literal_column, text

from mailqueue.mail.lifecycle import Event, State, advance, sources
from mailqueue.outbox.tables import recipients


def may(event: Event) -> ColumnElement[bool]:
    """Return the condition that a recipient is in a state which ``event`` can happen to."""
    # Literals, not parameters: a planner matches a partial index by its very text.
    listed = ", ".join(f"'{state}'" for state in sources(event))
    table = recipients.name
    only = sources(event)
    if len(only) == 1:
        return text(f"{table}.state = '{only[0]}'")  # type: ignore[return-value]
    return text(f"{table}.state IN ({listed})")  # type: ignore[return-value]


def after(event: Event) -> ColumnElement[str]:
    """Return the state that ``event`` leads to, for every state it can happen to."""
    targets = {advance(state, event) for state in sources(event)}
    if len(targets) != 1:
        raise AssertionError(f"{event} leads to several states; name the source")
    (target,) = targets
    if target is State.QUEUED and event is not Event.RETRY:
        return case(
            (recipients.c.attempts > 0, literal_column(f"'{State.DEFERRED}'")),
            else_=literal_column(f"'{State.QUEUED}'"),
        )
    return literal_column(f"'{target}'")
