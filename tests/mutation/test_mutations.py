"""The mutations fit the code as it is, and docs/guarantees.md tells what became of them."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.laboratory import ROOT, Finding, mutated
from tests.mutation.mutations import MUTATIONS, Mutation
from tests.mutation.table import BEGIN, END, drawn, replaced
from tests.support.named import missing, named_in

PAGE = (ROOT / "docs" / "guarantees.md").read_text()
TABLE = PAGE.partition(BEGIN)[2].partition(END)[0]
PROMISES = range(1, 9)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_mutation_has_its_place_in_the_code(mutation: Mutation) -> None:
    """What it replaces stands there exactly once, and what comes out is Python still."""
    text = mutated((ROOT / mutation.file).read_text(), mutation)
    ast.parse(text)
    for argument in mutation.tests:
        assert not argument.startswith("tests/") or (ROOT / argument).is_file()


def test_every_promise_is_broken_in_several_ways() -> None:
    """None is left out, and none is broken in one way only."""
    counts = [sum(one.promise == promise for one in MUTATIONS) for promise in PROMISES]
    assert min(counts) >= 3
    assert len({one.what for one in MUTATIONS}) == len(MUTATIONS)


def test_the_page_has_the_outcome_of_every_mutation_and_each_was_noticed() -> None:
    """The table is that of the mutations as they are: `make mutate` writes it anew."""
    rows = [row for row in TABLE.splitlines() if row.startswith("| ")][1:]
    assert [row.split(" | ")[:2] for row in rows] == [
        [f"| {one.promise}", one.what] for one in MUTATIONS
    ]
    assert all(named_in(row) for row in rows)


def test_every_test_that_the_page_names_exists() -> None:
    """A renamed test is renamed there too."""
    assert missing(PAGE) == []


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_says_what_would_break_it_and_what_shows_it(promise: int) -> None:
    """A promise without tests is a wish, and one without limits is a boast."""
    section = PAGE.partition(f"\n## {promise}. ")[2].partition("\n## ")[0]
    assert "What would break it:" in section
    assert len(named_in(section)) >= 3


def test_a_mutation_that_does_not_fit_is_an_error() -> None:
    """Text that is gone, or stands there twice, would break something else or nothing."""
    mutation = Mutation(1, "nothing", "x.py", "a", "b", ())
    for text in ("", "a a"):
        with pytest.raises(ValueError, match="exactly once"):
            mutated(text, mutation)
    assert mutated("xax", mutation) == "xbx"


def test_one_that_nobody_noticed_is_told() -> None:
    """The table hides no survivor, and replaces nothing but itself."""
    table = drawn([Finding(MUTATIONS[0], None)])
    assert "**nothing**" in table
    page = replaced(f"before {BEGIN}\nold\n{END} after", table)
    assert page.startswith("before ")
    assert page.endswith(" after")
    assert "old" not in page
    with pytest.raises(ValueError, match="no place"):
        replaced("a page", table)
