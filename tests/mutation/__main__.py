"""`make mutate`: break each promise on purpose, and write down which test notices.

python -m tests.mutation            all mutations; the table goes into docs/guarantees.md
python -m tests.mutation WORD       only those whose description holds WORD; writes nothing
"""

from __future__ import annotations

import sys

from tests.mutation.laboratory import ROOT, Finding, Laboratory, laboratory
from tests.mutation.mutations import MUTATIONS, Mutation
from tests.mutation.table import drawn, replaced

PAGE = ROOT / "docs" / "guarantees.md"


def main(words: list[str]) -> int:
    """Try the mutations out; returns the exit status, 1 where one was not noticed."""
    chosen = [mutation for mutation in MUTATIONS if not words or words[0] in mutation.what]
    with laboratory() as place:
        _begin_whole(place, chosen)
        findings = [_tried(place, mutation) for mutation in chosen]
    if not words:
        PAGE.write_text(replaced(PAGE.read_text(), drawn(findings)))
    survivors = sum(finding.caught_by is None for finding in findings)
    sys.stdout.write(f"{len(findings)} mutations, {survivors} of them not noticed\n")
    return 1 if survivors else 0


def _begin_whole(place: Laboratory, chosen: list[Mutation]) -> None:
    """Make sure that the tests pass as things are: a test that always fails catches nothing."""
    for tests in dict.fromkeys(mutation.tests for mutation in chosen):
        if (ended := place.run(tests)).returncode != 0:
            sys.exit(f"these fail without any mutation: {' '.join(tests)}\n{ended.stdout}")


def _tried(place: Laboratory, mutation: Mutation) -> Finding:
    finding = place.try_out(mutation)
    outcome = finding.caught_by or "NOT NOTICED"
    sys.stdout.write(f"{mutation.promise}  {mutation.what}\n   {outcome}\n")
    sys.stdout.flush()
    return finding


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
