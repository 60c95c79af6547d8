"""docs/security.md keeps its word: what it names is there, and every threat has a test."""

from __future__ import annotations

import pytest

from tests.support.named import ROOT, missing, named_in

PAGE = (ROOT / "docs" / "security.md").read_text()
THREATS = [
    line
    for line in PAGE.partition("## Threats")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| Attack")
]


def test_every_test_that_the_page_names_exists() -> None:
    """A renamed test is renamed here too."""
    assert missing(PAGE) == []


def test_there_is_a_table_of_threats() -> None:
    """The page was read as it is meant to be."""
    assert len(THREATS) >= 15


@pytest.mark.parametrize("threat", THREATS, ids=lambda row: row.split("|")[1].strip())
def test_every_threat_names_a_test(threat: str) -> None:
    """A control that nothing tests is a wish."""
    assert any(name for _, name in named_in(threat))


def test_what_is_missing_is_told() -> None:
    """The check can fail: a test that is not there is found out."""
    assert missing("`tests/security/test_page.py::test_of_nobody` and `tests/none.py`") == [
        "tests/security/test_page.py::test_of_nobody",
        "tests/none.py",
    ]
