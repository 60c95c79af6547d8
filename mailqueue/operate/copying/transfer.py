"""Rows from one outbox into another: the target itself says how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from mailqueue.failpoint import reach
from mailqueue.operate.access import Access
from mailqueue.operate.copying.refusals import UnfitRowError
from mailqueue.operate.copying.rows import Form, Row, batch, key_of
from mailqueue.outbox.fence import passing


def transfer(
    source: Access, target: Access, table: Table, *, copy: str, done: Callable[[int], None]
) -> None:
    """Copy what the target has not yet of ``table``, each batch in a transaction of its own.

    Rows are written in the order of their keys, so the greatest key in the target tells where to go
    on, after whatever end. ``done`` is told how many rows each batch had. Raises `UnfitRowError`.
    """
    form = Form(table)
    while True:
        with target.writing() as writing, passing(writing, copy):
            # Behind the gate: of two that copy at once, the second goes on where the first was.
            after = writing.scalar(select(func.max(key_of(table))))
            with source.reading() as reading:
                rows = batch(reading, table, after=after)
            if rows:
                _write(writing, table, [form(row) for row in rows])
            reach("before", "copy-batch-commit")
        reach("after", "copy-batch-commit")
        if not rows:
            return
        done(len(rows))


def _write(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    names = table.c.keys()
    try:
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
    except (DataError, IntegrityError) as error:
        key = names.index(key_of(table).name)
        raise UnfitRowError(
            f"a row of {table.name} between {rows[0][key]} and {rows[-1][key]} cannot be in the "
            f"other database as it is: {str(error.orig).splitlines()[0]}\n"
            "Give the copy up with --undo, mend the row, and copy again"
        ) from error
