"""The table of mutations in docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.mutation.laboratory import Finding

BEGIN: Final = "<!-- mutations: written by make mutate -->"
END: Final = "<!-- /mutations -->"


def drawn(findings: Sequence[Finding]) -> str:
    """Return the table as Markdown."""
    rows = [
        f"| {finding.mutation.promise} | {finding.mutation.what} | {_outcome(finding)} |"
        for finding in findings
    ]
    return "\n".join(
        ["| Promise | What the code is made to do | Noticed by |", "|---|---|---|", *rows]
    )


def _outcome(finding: Finding) -> str:
    return "**nothing**" if finding.caught_by is None else f"`{finding.caught_by}`"


def replaced(page: str, table: str) -> str:
    """Return ``page`` with ``table`` between its marks. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no place for the table: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
