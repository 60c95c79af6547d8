"""docs/sql.md says what the views have, and each of its recipes finds what it promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from mailqueue.clock import SystemClock
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.engine import read_engine
from mailqueue.outbox.question import answer
from mailqueue.outbox.views import VIEWS
from tests.support import rows

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text("utf-8")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
ENDED_OK: dict[str, Any] = {"state": State.SENT}
REFUSED: dict[str, Any] = {"state": State.FAILED, "last_code": 550}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A statement of the page under its heading; for ``dialect``, or for every one."""

    heading: str
    statement: str
    dialect: str | None

    def __str__(self) -> str:
        return f"{self.heading} ({self.dialect or 'any'})"


def _recipes() -> Iterator[Recipe]:
    for section in PAGE.partition("## Recipes")[2].split("\n### ")[1:]:
        heading = section.splitlines()[0]
        for block in re.findall(r"^```sql\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
            marked = re.match(r"-- (\w+)\n", block)
            dialect = None if marked is None else marked[1].lower()
            yield Recipe(heading, block, dialect)


RECIPES = [*_recipes()]


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_has_every_column(view: str, outbox: Connection) -> None:
    """The columns of each view are listed, all of them and in their order."""
    found = re.search(rf"\*\*mailqueue_{view}\*\*.*?\n\n((?:> [^\n]*\n)+)", PAGE, re.DOTALL)
    assert found is not None
    listed = re.sub(r"[>\s]", "", found[1]).split(",")
    columns = outbox.exec_driver_sql(f"SELECT * FROM mailqueue_{view} LIMIT 0").keys()
    assert listed == [*columns]


def test_each_recipe_is_for_every_database() -> None:
    """Where one has a variant for one database, it has one for the other too."""
    for heading in {recipe.heading for recipe in RECIPES}:
        dialects = {recipe.dialect for recipe in RECIPES if recipe.heading == heading}
        assert dialects in ({None}, set(NAMES))


def _fill(connection: Connection) -> None:
    """Bring about what the recipes look for, each of it a little before now."""
    now = SystemClock().now()
    before, trouble = now - 60 * rows.SECOND, {"stage": "auth", "code": 535, "text": "no"}
    rows.add_relay(connection, "default", breaker="open", is_default=True, **trouble)
    done: dict[str, Any] = {"enqueued_at": before, "tags": '{"order": "42"}'}
    rows.add_message(connection, "ok@one.example", "ok2@one.example", recipient=ENDED_OK, **done)
    failed = rows.add_message(
        connection, "ada@example.net",
        recipient={**REFUSED, "finished_at": before, "last_at": before,
                   "last_text": "no such user"},
        **done,
    )  # fmt: skip
    (ada,) = rows.recipient_ids(connection, failed)
    rows.add_attempt(connection, ada, code=550, ended_at=before, verdict="fail")
    rows.add_action(connection, ada, at=before - 1)
    twice = rows.add_message(connection, "twice@one.example", recipient={**ENDED_OK, "doubts": 1})
    rows.add_attempt(connection, *rows.recipient_ids(connection, twice), verdict="in-doubt")
    once = rows.add_message(
        connection, "once@one.example", recipient={"state": State.HELD, "doubts": 1}
    )
    rows.add_attempt(connection, *rows.recipient_ids(connection, once), verdict="in-doubt")
    rows.add_message(connection, "late@one.example", recipient={"due_at": before})


@pytest.fixture
def outbox(outbox_url: str, outbox_engine: Engine) -> Iterator[Connection]:
    """An outbox in which everything that a recipe asks for has happened, opened to read."""
    with outbox_engine.begin() as connection:
        _fill(connection)
    reader = read_engine(outbox_url)
    with reader.begin() as connection:
        yield connection
    reader.dispose()


EXPECTED = {
    "Failures of the last day, by reason": [
        (1, 550, None, "rcpt", "recipient-4xx", None, "no such user")
    ],
    "Everything about one address": ["hold", "fail"],
    "What is stuck behind a relay": [("default", "open", 2)],
    "What may have been sent twice": ["twice@one.example"],
    "Bounce rate by domain": [("example.net", 1, 1, 100.0), ("one.example", 3, 0, 0.0)],
    "What is due and not sent": ["late@one.example"],
    "What waits for a person": ["once@one.example"],
    "Who decided what": ["olga"],
    "The mail of one order, by its tag": [1, 2],
}
"""What each recipe finds: whole rows, or the column that tells them apart."""
_SHOWN: dict[str, Callable[[Any], Any]] = {
    "Everything about one address": lambda row: row.what,
    "What is stuck behind a relay": lambda row: (row.relay, row.breaker, row.recipients),
    "What may have been sent twice": lambda row: row.recipient,
    "What is due and not sent": lambda row: row.recipient,
    "What waits for a person": lambda row: row.recipient,
    "Who decided what": lambda row: row.actor,
    "The mail of one order, by its tag": lambda row: row.id,
}


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_each_recipe_finds_what_it_promises(outbox: Connection, recipe: Recipe) -> None:
    """Run as it stands on the page, it finds the rows it is about and no others."""
    if recipe.dialect not in (None, outbox.dialect.name):
        pytest.skip(f"for {recipe.dialect}")
    found = outbox.execute(text(recipe.statement.strip().rstrip(";").replace(":", "\\:"))).all()
    shown = _SHOWN.get(recipe.heading, tuple)
    assert [shown(row) for row in found] == EXPECTED[recipe.heading]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_each_recipe_is_a_question(outbox: Connection, recipe: Recipe) -> None:
    """`mailqueue sql` answers it: it changes nothing and uses nothing that is refused."""
    if recipe.dialect not in (None, outbox.dialect.name):
        pytest.skip(f"for {recipe.dialect}")
    statement = recipe.statement.strip().rstrip(";")
    assert answer(outbox, statement, expired=lambda: False).rows


def test_every_recipe_is_expected() -> None:
    """A recipe that is added is one whose answer is known."""
    assert {recipe.heading for recipe in RECIPES} == set(EXPECTED)
