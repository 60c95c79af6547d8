"""The table of mutations in docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.mutation.laboratory import Finding
from tests.support import marked

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
    return marked.replaced(page, BEGIN, END, text=table)
