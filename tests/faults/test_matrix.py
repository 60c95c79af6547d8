"""Every fault at every place: the verdict, who is charged, what the rows say, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import pytest

from mailqueue.mail.doubt import OnDoubt
from tests.faults.cells import Cell, product
from tests.faults.complaint import check

SEED = 5321
WAYS = pytest.mark.parametrize("pipelined", [False, True], ids=["stepwise", "pipelined"])
LARGE = 24
"""How many cells with 150 recipients are drawn; all of them are in the long form."""


def _some() -> list[Cell]:
    """Return all cells with one recipient, and those with three by the default policy."""
    return [
        cell
        for cell in product()
        if cell.recipients == 1 or (cell.recipients == 3 and cell.on_doubt is OnDoubt.RETRY)
    ]


def _shards(name: Callable[[Cell], str], some: Iterable[Cell]) -> list[object]:
    shards: dict[str, list[Cell]] = {}
    for cell in some:
        shards.setdefault(name(cell), []).append(cell)
    return [pytest.param(shard, id=name) for name, shard in shards.items()]


def _place_and_session(cell: Cell) -> str:
    return f"{cell.place}-{_session(cell)}"


def _session(cell: Cell) -> str:
    return "reused" if cell.reused else "first"


@pytest.mark.parametrize(
    "shard", _shards(_place_and_session, (one for one in _some() if not one.is_silence))
)
@WAYS
async def test_each_fault_leads_to_what_the_promises_say(
    shard: list[Cell], pipelined: bool
) -> None:
    """Each recipient gets the verdict of the table; nothing is lost, doubled or overcharged."""
    await check(shard, pipelined=pipelined)


@pytest.mark.parametrize("shard", _shards(_session, (one for one in _some() if one.is_silence)))
@WAYS
async def test_each_silence_leads_to_what_the_promises_say(
    shard: list[Cell], pipelined: bool
) -> None:
    """The same holds at every place where a relay says nothing, half a reply, or too slowly."""
    await check(shard, pipelined=pipelined)


@pytest.mark.parametrize("part", range(2))
@WAYS
async def test_the_same_holds_for_many_recipients(part: int, pipelined: bool) -> None:
    """Each of 150 recipients, in two transactions, has its own answer whatever the others get."""
    large = [cell for cell in product() if cell.recipients == 150]
    await check(Random(SEED).sample(large, LARGE)[part::2], pipelined=pipelined)
