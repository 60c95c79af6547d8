"""Very many recipients: counted, chosen, and moved by two statements."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, event, select, true, update

from mailqueue.mail.lifecycle import OPERATOR_EVENTS, Event, State, sources
from mailqueue.outbox.acts import Selection, act
from mailqueue.outbox.bulk import Decision, applicable, chosen, move, tally
from mailqueue.outbox.filter import Filter, condition
from mailqueue.outbox.tables import actions, recipients
from tests.outbox.test_plans import plan, scans
from tests.support.rows import NOW, SECOND, add_message, recipient_ids

LATER = NOW + 3600 * SECOND


def everybody(happening: Event) -> Selection:
    """Select all to whom it can happen."""
    return applicable(true(), happening, sources(happening))


@pytest.mark.parametrize("happening", sorted(OPERATOR_EVENTS))
@pytest.mark.parametrize("attempts", [0, 2])
def test_it_does_what_the_verb_for_one_does(
    connection: Connection, happening: Event, attempts: int
) -> None:
    """Rows and record are the same as when each recipient is decided about by itself."""
    for state in State:
        recipient = {"state": state, "attempts": attempts, "expires_at": LATER - SECOND}
        add_message(connection, recipient=recipient)
    add_message(connection, raw=None, recipient={"state": State.DEFERRED})
    rows, recorded = [], []
    for many in (True, False):
        savepoint = connection.begin_nested()
        if many:
            where = everybody(happening)
            decision = Decision(happening, "olga", "because")
            ids = chosen(connection, where)
            assert move(connection, ids, where, decision, now=LATER) == len(ids)
        else:
            act(connection, true(), happening, actor="olga", reason="because", now=LATER)
        rows.append(connection.execute(select(recipients).order_by(recipients.c.id)).all())
        recorded.append({tuple(row)[1:] for row in connection.execute(select(actions))})
        savepoint.rollback()
    assert rows[0] == rows[1]
    assert recorded[0] == recorded[1] != set()


def test_who_has_changed_meanwhile_is_left_alone(connection: Connection) -> None:
    """Between the choice and the deed a worker may have claimed somebody: that stands."""
    message = add_message(connection, "a@example.net", "b@example.net", "c@example.net")
    where = everybody(Event.CANCEL)
    ids = chosen(connection, where)
    claimed = recipients.c.id == ids[1]
    connection.execute(update(recipients).where(claimed).values(state="sending", worker="w1"))
    assert move(connection, ids, where, Decision(Event.CANCEL, "olga"), now=LATER) == 2
    states = [*connection.scalars(select(recipients.c.state).order_by(recipients.c.id))]
    assert states == ["cancelled", "sending", "cancelled"]
    recorded = [*connection.scalars(select(actions.c.recipient_id).order_by(actions.c.id))]
    assert recorded == [ids[0], ids[2]]
    assert recipient_ids(connection, message) == [*ids]


def test_nobody_else_is_touched(connection: Connection) -> None:
    """Of those in the selection, only the ids that were chosen are moved."""
    for _ in range(3):
        add_message(connection)
    where = everybody(Event.HOLD)
    first, *_ = chosen(connection, where)
    assert move(connection, [first], where, Decision(Event.HOLD, "olga"), now=LATER) == 1
    held = select(recipients.c.id).where(recipients.c.state == "held")
    assert [*connection.scalars(held)] == [first]


def test_two_statements_however_many(connection: Connection, engine: Engine) -> None:
    """Neither rows nor parameters grow with the number of recipients."""
    for _ in range(20):
        add_message(connection, *(f"r{number}@example.net" for number in range(100)))
    where = everybody(Event.HOLD)
    ids = chosen(connection, where)
    asked: list[int] = []

    def note(
        _c: object, _cursor: object, statement: str, given: tuple[object, ...], *_: object
    ) -> None:
        asked.append(len(given))

    event.listen(engine, "before_cursor_execute", note)
    assert move(connection, ids, where, Decision(Event.HOLD, "olga"), now=LATER) == 2000
    event.remove(engine, "before_cursor_execute", note)
    assert len(asked) == 2
    assert max(asked) < 50


def test_a_tally_counts_by_state_and_relay(connection: Connection) -> None:
    """It says how many are meant, where they stand, and how many may have been sent already."""
    add_message(connection, "a@example.net", "b@example.net", relay="bulk")
    add_message(connection, recipient={"state": State.HELD, "doubts": 1})
    add_message(connection, recipient={"state": State.HELD})
    add_message(connection, recipient={"state": State.DEFERRED, "doubts": 1})
    counted = tally(connection, true())
    assert counted.total == 5
    assert counted.by_state == {State.QUEUED: 2, State.DEFERRED: 1, State.HELD: 2}
    assert counted.by_relay == {"bulk": 2, "default": 3}
    assert counted.in_doubt == 2
    assert tally(connection, recipients.c.relay == "nobody").total == 0


def test_retry_leaves_out_what_has_no_content(connection: Connection) -> None:
    """What has been pruned cannot be sent again, and is not even counted."""
    add_message(connection, raw=None, recipient={"state": State.FAILED})
    kept = add_message(connection, recipient={"state": State.FAILED})
    found = chosen(connection, everybody(Event.RETRY))
    assert [*found] == recipient_ids(connection, kept)


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(relay="bulk"),
        Filter(state="deferred"),
        Filter(domain="example.net"),
        Filter(sender="a@*", tag="a=b"),
    ],
    ids=str,
)
def test_a_transaction_seeks_its_rows(
    engine: Engine, connection: Connection, wanted: Filter
) -> None:
    """However large the outbox is, a batch looks at the rows of its own ids and no other."""
    add_message(connection)
    where = applicable(condition(wanted, now=NOW), Event.HOLD, sources(Event.HOLD))
    decision = Decision(Event.HOLD, "olga")
    steps = plan(engine, connection, lambda c: move(c, range(1, 50), where, decision, now=NOW))
    assert scans(steps) == []
    seeks = [step for step in steps if step.startswith("SEARCH recipients")]
    assert set(seeks) == {"SEARCH recipients USING INTEGER PRIMARY KEY (rowid=?)"}


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize("count", [tally, chosen])
def test_finished_mail_is_not_walked_for_what_waits(
    engine: Engine, connection: Connection, count: object
) -> None:
    """Counting and choosing what waits costs what waits, and not all that was ever sent."""
    where = applicable(condition(Filter(domain="*"), now=NOW), Event.HOLD, sources(Event.HOLD))
    steps = plan(engine, connection, lambda c: count(c, where))  # type: ignore[operator]
    assert scans(steps) == []
    assert all("ix_recipients_live" in step or "B-TREE" in step for step in steps)
