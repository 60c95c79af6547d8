"""The oracle and the complaint are tests too: they must know every cell, and be able to fail."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import FAULTS
from tests.faults.bench import Observation
from tests.faults.cells import Cell, Place, product
from tests.faults.complaint import complaint
from tests.faults.expectation import ANY_CODE, Expectation, Pause, Row
from tests.faults.hearing import HEARD
from tests.faults.oracle import expectations

VERDICTS = {"sent", "fail", "defer", "in-doubt"}


def _cell(place: Place, fault: str, *, reused: bool = False, recipients: int = 1) -> Cell:
    return Cell.parse(f"{place}/{fault}/{'reused' if reused else 'first'}/{recipients}/retry")


def _verdicts(cell: Cell) -> list[str]:
    (wanted,) = expectations(cell)
    return [" then ".join(row.verdict for row in rows) for rows in wanted.target]


def test_every_fault_is_known_to_the_oracle() -> None:
    """A new fault in the kit needs a line here before the matrix can judge it."""
    assert {fault.name for fault in FAULTS} == HEARD.keys()


def test_every_cell_has_an_expectation() -> None:
    """Each recipient has one attempt, charged unless the relay had no room for anybody."""
    for cell in product():
        for wanted in expectations(cell):
            assert len(wanted.target) == cell.recipients
            for rows, taken in zip(wanted.target, wanted.taken, strict=True):
                (row,) = rows
                assert row.verdict in VERDICTS
                assert row.charged == (row.rule != "relay-overloaded")
                assert taken <= (row.verdict in ("sent", "in-doubt"))


def test_every_verdict_and_every_scope_is_wanted_somewhere() -> None:
    """A matrix without doubts, pauses or refusals would prove nothing about them."""
    wanted = [one for cell in product() for one in expectations(cell)]
    rows = {row for one in wanted for rows in one.target for row in rows}
    assert {row.verdict for row in rows} == VERDICTS
    assert {row.scope for row in rows} == {"recipient", "message", "session"}
    assert {pause.stage for one in wanted for pause in one.pauses} == {
        "greeting",
        "ehlo",
        "starttls",
        "auth",
        "mail",
    }
    assert {one.sessions for one in wanted} > {1, 2, 3}


@pytest.mark.parametrize(
    ("cell", "verdicts"),
    [
        (_cell(Place.GREETING, "5xx"), ["sent"]),
        (_cell(Place.AUTH, "silence"), ["sent"]),
        (_cell(Place.MAIL, "421"), ["defer"]),
        (_cell(Place.MAIL, "close"), ["defer"]),
        (_cell(Place.MAIL, "close", reused=True), ["sent"]),
        (_cell(Place.RCPT_FIRST, "5xx", recipients=3), ["fail", "sent", "fail"]),
        (_cell(Place.RCPT_LAST, "421", recipients=3), ["defer", "fail", "defer"]),
        (_cell(Place.DATA, "2xx", recipients=3), ["defer", "fail", "defer"]),
        (_cell(Place.DOT, "4xx", recipients=3), ["defer", "fail", "defer"]),
        (_cell(Place.DOT, "5xx", recipients=3), ["fail", "fail", "defer"]),
        (_cell(Place.DOT, "silence", recipients=3), ["in-doubt", "fail", "defer"]),
        (_cell(Place.LONG_BODY, "silence"), ["defer"]),
        (_cell(Place.BODY, "silence"), ["in-doubt"]),
        (_cell(Place.QUIT, "reset"), ["sent"]),
    ],
    ids=str,
)
def test_the_oracle_says_what_the_design_says(cell: Cell, verdicts: list[str]) -> None:
    """One line for each promise, so that a human can judge the judge."""
    assert _verdicts(cell) == verdicts


def test_the_oracle_imports_nothing_that_decides() -> None:
    """It would only repeat the errors of the code under test."""
    for name in ("hearing", "rulings", "oracle", "expectation"):
        tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {module for module in imported if module and module.startswith("mailqueue")}


def test_cells_are_found_again_by_their_names() -> None:
    """A name out of a failure is enough to let it happen again."""
    for cell in product():
        assert Cell.parse(str(cell)) == cell


def _observation(seen: Expectation, *breaches: str) -> Observation:
    cell = _cell(Place.DOT, "silence")
    return Observation(cell, seen, breaches, duplicates=1, doubts=1, transcript="S: 220")


def test_what_is_as_expected_gets_no_complaint() -> None:
    """Silence means that all is well."""
    (wanted,) = expectations(_cell(Place.DOT, "silence"))
    assert not complaint(_observation(wanted))


@pytest.mark.parametrize(
    "change",
    [
        {"target": ((Row("sent", "message", "accepted", "end-of-data", 250),),)},
        {"pauses": (Pause("mail", 421),)},
        {"sessions": 1},
        {"taken": (0,)},
        {"primer": (Row("sent", "message", "accepted", "end-of-data", 250),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_is_complained_about(change: dict[str, object]) -> None:
    """The complaint names the cell, and what was wanted and seen."""
    (wanted,) = expectations(_cell(Place.DOT, "silence"))
    text = complaint(_observation(replace(wanted, **change)))  # type: ignore[arg-type]
    assert "dot/silence/first/1/retry" in text
    assert f"{next(iter(change))}: wanted" in text


def test_a_broken_promise_is_complained_about_though_all_was_expected() -> None:
    """What must never happen is looked for apart from the oracle."""
    (wanted,) = expectations(_cell(Place.DOT, "silence"))
    assert "got the mail 3 times" in complaint(_observation(wanted, "ann got the mail 3 times"))


def test_any_code_stands_for_any_code_and_nothing_else() -> None:
    """Where the library reads the greeting its code may vary, the stage may not."""
    (wanted,) = expectations(_cell(Place.GREETING, "mixed-codes"))
    assert wanted.pauses == (Pause("greeting", ANY_CODE),)
    assert wanted.is_met_by(replace(wanted, pauses=(Pause("greeting", 550),)))
    assert not wanted.is_met_by(replace(wanted, pauses=(Pause("ehlo", 550),)))
    assert not wanted.is_met_by(replace(wanted, pauses=()))


def test_doubt_is_played_with_both_policies() -> None:
    """Whether it is retried or held decides how often the relay may take the mail."""
    played = {cell.on_doubt for cell in product() if cell.place is Place.DOT}
    assert played == set(OnDoubt)
