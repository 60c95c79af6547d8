"""`mailqueue db`: the tables of the outbox."""

from __future__ import annotations

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.moving import copy, unfence
from mailqueue.cli.output import printable


@click.group()
def db() -> None:
    """Create, upgrade, check or move the tables."""


db.add_command(copy)
db.add_command(unfence)


@db.command()
@takes_outbox
def upgrade(access: Access) -> None:
    """Bring the tables to the newest version.

    Makes file and tables where there are none. Everything happens in one transaction: it is
    done, or nothing is changed.
    """
    from mailqueue.outbox import schema
    from mailqueue.outbox.engine import write_engine
    from mailqueue.outbox.faults import translating

    with translating(access.url):
        engine = write_engine(access.url, busy_timeout=access.busy_timeout)
        try:
            schema.upgrade(engine)
        finally:
            engine.dispose()
    click.echo(f"{_where(access)}: version {schema.HEAD}")


@db.command()
@takes_outbox
def current(access: Access) -> None:
    """Print the version of the tables.

    The one that is there, and the one that this mailqueue needs.
    """
    from mailqueue.outbox import schema

    with access.connecting() as connection:
        found = schema.current(connection)
    click.echo(f"{_where(access)}: version {found or 'none'}, needed is {schema.HEAD}")


@db.command()
@takes_outbox
def check(access: Access) -> None:
    """Check the tables and the file.

    Their version, and whether the file is sound. Exits with 78 if the tables are of another
    version, and with 65 if the file is damaged.
    """
    from mailqueue.outbox import schema
    from mailqueue.outbox.fence import standing

    with access.reading() as connection:
        if (fence := standing(connection)) is not None:
            click.echo(printable(f"{_where(access)} is closed: it {fence}"))
        if connection.dialect.name == "sqlite":
            _check_file(access, [*connection.exec_driver_sql("PRAGMA quick_check(10)").scalars()])
    click.echo(f"{_where(access)}: version {schema.HEAD}, in order")


def _check_file(access: Access, findings: list[str]) -> None:
    from mailqueue.errors import NotAnOutboxError

    if findings != ["ok"]:
        raise NotAnOutboxError(
            f"{_where(access)} is damaged: stop what writes to it and copy it with its -wal and "
            "-shm before anything else\n" + "\n".join(findings)
        )


def _where(access: Access) -> str:
    from mailqueue.outbox.location import describe

    return describe(access.url)
