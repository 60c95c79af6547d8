"""docs/states.md says what the code does: its drawing, its tables and its queries."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from docs.draw_states import PAGE, WHEN, diagram, moves, redraw
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.lifecycle import TRANSITIONS, Event, State, advance
from mailqueue.mail.reply import Answer, Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox import schema
from mailqueue.outbox.acts import act, of_messages
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.enqueue import Draft, Options, enqueue
from mailqueue.outbox.reap import expire
from mailqueue.outbox.record import Result, Trial, record
from mailqueue.outbox.tables import recipients

TEXT = PAGE.read_text("utf-8")
NOW = 1_700_000_000_000_000
DAY = 86_400_000_000

TABLES = [
    [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
]
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


def test_the_page_is_drawn_from_the_table_in_use() -> None:
    """Drawn anew, the page is the same; if not, run `python -m docs.draw_states`."""
    assert redraw(TEXT) == TEXT


def test_drawing_replaces_what_stands_between_the_marks_and_nothing_else() -> None:
    """A page that has fallen behind is put right, and its prose stays."""
    behind = TEXT.replace("queued --> sending : claim\n", "").replace("| `claim` |", "| `take` |")

    assert behind != TEXT
    assert redraw(behind) == TEXT


def test_a_page_without_marks_is_not_overwritten() -> None:
    """Where a drawing has no place it is an error, and not a page that is silently stale."""
    with pytest.raises(ValueError, match="no marks for the moves"):
        redraw(TEXT.replace("<!-- /moves -->", ""))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("attempts", [0, 1])
def test_the_diagram_has_every_move_and_no_other(state: State, attempts: int) -> None:
    """Each arrow out of a state carries the events that lead along it."""
    drawn = re.findall(rf"^    {state} --> (\w+) : (.+)$", diagram(), re.MULTILINE)
    led = {(Event(event), State(there)) for there, events in drawn for event in events.split(", ")}
    legal = {(event, advance(state, event, attempts=attempts)) for event in TRANSITIONS[state]}

    assert legal <= led
    assert {event for event, _ in led} == set(TRANSITIONS[state])


@pytest.mark.parametrize("event", Event)
def test_the_moves_say_who_makes_them(event: Event) -> None:
    """Each event has one row, with who decides it, and a sentence about when."""
    rows = [line.split(" | ") for line in moves().splitlines() if f"| `{event}` |" in line]

    assert [row[1] for row in rows] == ["operator" if event.is_operators else "daemon"]
    assert re.fullmatch(r"[A-Z].*\.", WHEN[event])


def test_every_state_is_explained_and_shown() -> None:
    """The tables about states have a row for each, in the order of the code."""
    explained, _, shown = TABLES

    for table in (explained, shown):
        assert [row[0] for row in table[2:]] == [f"`{state}`" for state in State]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An outbox with nothing in it."""
    engine = write_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    schema.create(engine)
    yield engine
    engine.dispose()


def bring(connection: Connection, state: State) -> int:
    """Enqueue a message and bring its recipient to ``state``; returns the message's id."""
    on_doubt = OnDoubt.HOLD if state is State.HELD else OnDoubt.RETRY
    content = Content(b"Subject: x\r\n\r\n", "<1@example.org>")
    envelope = Envelope("s@example.org", (f"{state}@example.org",))
    draft = Draft(envelope, content, b"", Options(on_doubt=on_doubt))
    (receipt,) = enqueue(connection, [draft], now=NOW)
    match state:
        case State.EXPIRED:
            expire(connection, {}, now=NOW + 6 * DAY, default=5 * 86_400.0)
        case State.CANCELLED:
            act(connection, of_messages([receipt.id]), Event.CANCEL, actor="me", now=NOW)
        case State.QUEUED:
            pass
        case _:
            take(connection, state, on_doubt)
    return receipt.id


ANSWERS: dict[State, tuple[Stage, Answer]] = {
    State.DEFERRED: (Stage.RCPT, Reply(450, "greylisted")),
    State.HELD: (Stage.END_OF_DATA, NoReply(NoReplyKind.LOST)),
    State.SENT: (Stage.END_OF_DATA, Reply(250)),
    State.FAILED: (Stage.RCPT, Reply(550, "unknown user")),
}


def take(connection: Connection, state: State, on_doubt: OnDoubt) -> None:
    """Claim what is due, and unless it stays so, record the answer that leads to ``state``."""
    wanted = Claim("default", "w", 1, 1000, now=NOW, until=NOW + DAY, born_after=0)
    (message,) = claim(connection, wanted)
    if state is State.SENDING:
        return
    (lease,) = message.leases
    finding = Finding(Evidence(*ANSWERS[state]))
    decision = decide(finding, lease.history, Backoff(), on_doubt=on_doubt, now=NOW, jitter=0.0)
    trial = Trial("w", "default", started_at=NOW, ended_at=NOW)
    assert record(connection, [Result(lease, decision, trial)]) == []


@pytest.mark.parametrize("state", State)
def test_a_row_looks_in_sql_as_the_page_says(engine: Engine, state: State) -> None:
    """What is NULL in which state, brought about by the daemon's own statements."""
    heads, _, *rows = TABLES[2]
    (said,) = [row for row in rows if row[0] == f"`{state}`"]
    names = [head.strip("`") for head in heads]

    with engine.begin() as connection:
        message = bring(connection, state)
        columns = [recipients.c[name] for name in names]
        found = connection.execute(select(*columns).where(recipients.c.message_id == message)).one()

    assert found.state == state
    assert [value is None for value in found] == [cell == "NULL" for cell in said]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_runs_and_finds_something(engine: Engine, query: str) -> None:
    """On an outbox with a recipient in every state, no query of the page comes back empty."""
    with engine.begin() as connection:
        # Those that wait come last, or the claim and the clock of the others would take them.
        for state in sorted(State, key=lambda state: state in (State.QUEUED, State.DEFERRED)):
            bring(connection, state)
    assert engine.url.database is not None

    with closing(sqlite3.connect(engine.url.database)) as shell:
        assert shell.execute(query).fetchall()
