"""Where a cell did not turn out as it had to: what was wanted, what was seen, what was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from tests.faults.bench import Observation, observe
from tests.faults.cells import Cell
from tests.faults.expectation import Expectation
from tests.faults.oracle import expectations

_SHOWN = 5
"""Complaints are alike mostly, and transcripts long."""


async def check(cells: Sequence[Cell], *, pipelined: bool = False) -> list[Observation]:
    """Let all ``cells`` happen. Raises AssertionError that tells of each that went wrong."""
    observations = await observe(cells, pipelined=pipelined)
    complaints = [text for one in observations if (text := complaint(one))]
    if complaints:
        told = "\n\n".join(complaints[:_SHOWN])
        raise AssertionError(f"{len(complaints)} of {len(cells)} cells went wrong:\n\n{told}")
    return observations


def complaint(observation: Observation) -> str:
    """Return what is wrong, or nothing."""
    wanted = expectations(observation.cell, pipelined=observation.pipelined)
    lines = list(observation.breaches)
    if not any(one.is_met_by(observation.seen) for one in wanted):
        lines.extend(_differences(wanted[0], observation.seen))
    return "\n".join([str(observation.cell), *lines, observation.transcript]) if lines else ""


def _differences(wanted: Expectation, seen: Expectation) -> Iterator[str]:
    for one in fields(Expectation):
        before, after = getattr(wanted, one.name), getattr(seen, one.name)
        if before != after:
            yield f"  {one.name}: wanted {before}"
            yield f"  {' ' * len(one.name)}    seen {after}"
