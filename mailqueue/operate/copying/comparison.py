"""Both outboxes read once more at the end, and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sqlalchemy import Table

from mailqueue.operate.access import Access
from mailqueue.operate.copying.refusals import DifferenceError
from mailqueue.operate.copying.rows import Checksum, Form, Row, batch, between, key_of


@dataclass(frozen=True, slots=True)
class Compared:
    """A table that is the same in both; ``replaced`` rows had text that PostgreSQL cannot hold."""

    table: str
    rows: int
    checksum: str
    replaced: int = 0


def compare(
    source: Access, target: Access, table: Table, *, done: Callable[[int], None]
) -> Compared:
    """Read ``table`` on both sides, every column of every row, and return count and checksum.

    Raises `DifferenceError` with the first row that differs.
    """
    form, ours, theirs = Form(table), Checksum(), Checksum()
    key = table.c.keys().index(key_of(table).name)
    after: int | None = None
    count = replaced = 0
    while True:
        with source.reading() as reading:
            raw = batch(reading, table, after=after)
        left = [form(row) for row in raw]
        with target.reading() as reading:
            there = (
                between(reading, table, after=after, last=left[-1][key])
                if left
                else batch(reading, table, after=after)
            )
        right = [form(row) for row in there]
        ours.add(left)
        theirs.add(right)
        if str(ours) != str(theirs):
            raise _difference(table, left, right)
        if not left:
            return Compared(table.name, count, str(ours), replaced)
        after = left[-1][key]
        count += len(left)
        replaced += sum(one != other for one, other in zip(raw, left, strict=True))
        done(len(left))


def _difference(table: Table, left: Sequence[Row], right: Sequence[Row]) -> DifferenceError:
    names = table.c.keys()
    one, other = next(pair for pair in zip_longest(left, right) if pair[0] != pair[1])
    key = names.index(key_of(table).name)
    number = (one or other)[key]
    if one is None or other is None or one[key] != other[key]:
        what = f"row {number} is on one side only"
    else:
        columns = [name for name, a, b in zip(names, one, other, strict=True) if a != b]
        what = f"row {number} differs in {', '.join(columns)}"
    return DifferenceError(
        f"{table.name} is not the same in both places: {what}. Nothing is sent from either; "
        "--undo gives the copy up"
    )
