"""`mailqueue doctor`: what is wrong with the set-up, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mailqueue.cli.access import Access, checked_url, config_option, database_option
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.doctor.finding import Finding, Grade
from mailqueue.cli.exits import Exit
from mailqueue.cli.grid import has_colour, json_option, show_json
from mailqueue.cli.output import one_line

if TYPE_CHECKING:
    from mailqueue.config import Config


@click.command()
@config_option
@database_option
@click.option("--offline", is_flag=True, help="Do not connect to the relays.")
@click.option(
    "--timeout",
    type=DURATION,
    default="20s",
    show_default=True,
    metavar="DURATION",
    help="How long a relay may take to answer.",
)
@json_option
def doctor(
    config_file: str | None,
    database: str | None,
    offline: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Look for what is wrong with the set-up.

    The configuration and whether its values go together; the outbox's file, its modes, disk and
    file system; SQLite, or the PostgreSQL server; the daemons; and each relay, by a session that
    goes through EHLO, TLS and AUTH and sends nothing. Changes nothing. Exits with 69 if something
    is wrong, and with 0 also where there are warnings.
    """
    found = []
    for finding in _examined(config_file, database, offline=offline, timeout=timeout):
        found.append(finding)
        if as_json:
            show_json([finding.as_object()])
        else:
            for line in finding.lines():
                click.echo(_coloured(one_line(line), finding.grade))
    if any(finding.grade is Grade.WRONG for finding in found):
        raise click.exceptions.Exit(Exit.UNAVAILABLE)


def _examined(
    config_file: str | None, database: str | None, *, offline: bool, timeout: float
) -> Iterator[Finding]:
    from mailqueue.cli.doctor.settings import loaded, sane

    config, findings = loaded(config_file)
    yield from findings
    if config is not None:
        yield from sane(config)
    access = _access(config, database)
    if access is not None:
        yield from _outbox(access, config)
    if config is not None and not offline:
        from mailqueue.cli.doctor.relays import reached

        yield from reached(config, timeout=timeout)


def _access(config: Config | None, database: str | None) -> Access | None:
    from mailqueue.outbox.engine import BUSY_TIMEOUT

    if database:
        return Access(checked_url(database), BUSY_TIMEOUT, config)
    if config is None:
        return None
    return Access(config.database.url, config.database.busy_timeout, config)


def _outbox(access: Access, config: Config | None) -> Iterator[Finding]:
    from mailqueue.cli.doctor.database import examined as database
    from mailqueue.cli.doctor.files import examined as files
    from mailqueue.outbox.location import database_path

    path = database_path(access.url)
    if path is not None:
        yield from files(path, config)
    yield from database(access, path)


def _coloured(line: str, grade: Grade) -> str:
    word, _, rest = line.partition(" ")
    if not has_colour() or not word:
        return line
    return f"{click.style(word, fg=grade.colour, bold=grade is not Grade.WELL)} {rest}"
