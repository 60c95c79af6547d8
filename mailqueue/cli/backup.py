"""`mailqueue backup`: a copy of the outbox, while it is in use."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.grid import json_option, show_json
from mailqueue.cli.output import printable

_EPILOG = """\b
To restore it:
  1. stop the daemon and what enqueues
  2. move outbox.db, outbox.db-wal and outbox.db-shm away, all three
  3. install -m 660 -g GROUP FILE outbox.db     (GROUP is that of the directory)
  4. mailqueue db check; then start the daemon

What waited when the copy was taken, and was sent since, is sent again from it: look with
`mailqueue list` first, and hold or cancel what should not be."""


LARGE = 25_000
"""Pages (100 MB) from which on a copy tells how far it is."""


@click.command(epilog=_EPILOG)
@takes_outbox
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, resolve_path=True))
@json_option
def backup(access: Access, file: Path, as_json: bool) -> None:
    """Copy the outbox while it is in use.

    FILE is new: nothing is overwritten. The copy shows one moment, whatever is written
    meanwhile, has been checked by SQLite, and holds every mail, so only its owner may read it.
    The tables may be of another version: it is what comes before `mailqueue db upgrade`. Never
    copy the file with cp, which misses what is in the log beside it. Exits with 73 where no
    copy could be made.
    """
    from mailqueue.outbox import schema
    from mailqueue.outbox.backup import BackupError
    from mailqueue.outbox.backup import backup as copy
    from mailqueue.outbox.location import describe

    progress = _Progress() if sys.stderr.isatty() else None
    try:
        with access.connecting() as connection:
            if schema.current(connection) is None:
                schema.check(connection)
            size = copy(connection, file, progress=progress)
    except BackupError as error:
        raise Failure(str(error), Exit.CANNOT_CREATE) from None
    if as_json:
        show_json([{"file": str(file), "octets": size, "is_checked": True}])
        return
    click.echo(
        printable(
            f"{file}: {size:,} octets, checked; `mailqueue backup --help` tells how to restore "
            f"{describe(access.url)} from it"
        )
    )


class _Progress:
    """Says each tenth of a large copy, on a line of its own."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if total >= LARGE and tenth > self._said:
            self._said = tenth
            click.echo(f"copied {10 * tenth} %", err=True)
