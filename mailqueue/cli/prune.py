"""`mailqueue prune`: what is finished and old goes, at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.grid import json_option, show_json
from mailqueue.clock import microseconds

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from mailqueue.outbox.prune import Pruned, Retention


REST = 0.02
"""Seconds between two steps. SQLite's lock goes to whoever asks at the right moment, and those who
wait for it ask seldom: without a rest they would wait until all is done."""
LOOKED_AT = 20_000
"""Messages counted in one snapshot."""


@click.command()
@takes_outbox
@click.option(
    "--contents",
    type=DURATION,
    metavar="DURATION",
    help="Remove contents that were finished so long ago; by default [retention] contents.",
)
@click.option(
    "--messages",
    type=DURATION,
    metavar="DURATION",
    help="The same for whole messages, with their attempts; by default [retention] messages.",
)
@click.option("--dry-run", is_flag=True, help="Count what would go, and remove nothing.")
@json_option
def prune(
    access: Access,
    contents: float | None,
    messages: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what is finished and old.

    The daemon does it by itself, as [retention] says; this is for doing it now, or more
    thoroughly once. A message with a recipient that still waits is never touched. It goes in
    small steps beside a running daemon, and gives the space back to the file system; breaking
    it off loses nothing.
    """
    retention = _retention(access, contents, messages)
    if dry_run:
        pruned, pages = _counted(access, retention), 0
    else:
        pruned, pages = _removed(access, retention)
    if as_json:
        show_json(
            [
                {
                    "contents": pruned.contents,
                    "messages": pruned.messages,
                    "pages_returned": pages,
                    "dry_run": dry_run,
                }
            ]
        )
        return
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{verb} {pruned.contents} contents and {pruned.messages} whole messages")
    if pages:
        click.echo(f"gave {pages} pages back to the file system")


def _retention(access: Access, contents: float | None, messages: float | None) -> Retention:
    from mailqueue.config import RetentionSettings
    from mailqueue.outbox.moment import present
    from mailqueue.outbox.prune import Retention

    settings = RetentionSettings() if access.config is None else access.config.retention
    with access.reading() as connection:
        now = present(connection)
    return Retention(
        now - microseconds(settings.contents if contents is None else contents),
        now - microseconds(settings.messages if messages is None else messages),
    )


def _counted(access: Access, retention: Retention) -> Pruned:
    """Count batch by batch, each in a snapshot of its own: none is open for long."""
    from mailqueue.outbox.prune import Pruned, preview

    whole, after = Pruned(0, 0, None), 0
    while True:
        with access.reading() as connection:
            batch = preview(connection, retention, after=after, limit=LOOKED_AT)
        whole = _sum(whole, batch)
        if batch.last is None:
            return whole
        after = batch.last


def _removed(access: Access, retention: Retention) -> tuple[Pruned, int]:
    from mailqueue.outbox.prune import PAGES, Pruned, prune, reclaim

    whole, pages, after, rest = Pruned(0, 0, None), 0, 0, Event()
    with _writing(access) as engine:
        while True:
            with engine.begin() as connection:
                batch = prune(connection, retention, after=after)
            whole = _sum(whole, batch)
            if batch.last is None:
                break
            after = batch.last
            rest.wait(REST)
        while True:
            with engine.begin() as connection:
                given = reclaim(connection)
            pages += given
            if given < PAGES:
                return whole, pages
            rest.wait(REST)


@contextmanager
def _writing(access: Access) -> Iterator[Engine]:
    from mailqueue.outbox import schema
    from mailqueue.outbox.engine import write_engine
    from mailqueue.outbox.faults import translating

    with translating(access.url):
        engine = write_engine(access.url, busy_timeout=access.busy_timeout)
        try:
            with engine.begin() as connection:
                schema.check(connection)
            yield engine
        finally:
            engine.dispose()


def _sum(one: Pruned, more: Pruned) -> Pruned:
    from mailqueue.outbox.prune import Pruned

    return Pruned(one.contents + more.contents, one.messages + more.messages, more.last)
