"""`mailqueue run`: the daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from mailqueue.cli.access import checked_url, config_option, database_option

if TYPE_CHECKING:
    from mailqueue.config import Loaded


@click.command()
@config_option
@database_option
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="In place of the one in the configuration.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="For people or for machines; in place of the one in the configuration.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="How many share the work; in place of the number in the configuration.",
)
@click.option("--share", hidden=True, help="Be one of several processes, such as 1/2.")
def run(
    config_file: str | None,
    database: str | None,
    log_level: str | None,
    log_format: str | None,
    *,
    processes: int | None,
    share: str | None,
) -> None:
    """Send what is in the outbox, until told to stop.

    Creates the outbox if there is none. SIGTERM or ctrl-C ends it in order: what is under way
    is finished or put back; a second one ends it at once. SIGHUP reads the configuration anew
    and keeps the old one if the new one cannot be used.
    """
    import faulthandler

    from mailqueue.client.creation import ensure
    from mailqueue.errors import OutboxUnavailableError

    overrides = {
        "MAILQUEUE_DATABASE__URL": database and checked_url(database),
        "MAILQUEUE_LOG__LEVEL": log_level,
        "MAILQUEUE_LOG__FORMAT": log_format,
        "MAILQUEUE_DAEMON__PROCESSES": None if processes is None else str(processes),
    }
    reload = _loader(config_file, overrides)
    loaded = _begin_log(reload(), share)
    # A watchdog's SIGABRT then leaves in the journal where every thread was.
    faulthandler.enable()
    settings = loaded.config.database
    # A server that is not there yet is waited for, by the daemon and where signals are heard.
    with suppress(OutboxUnavailableError):
        ensure(settings.url, busy_timeout=settings.busy_timeout)
    if share is None and loaded.config.daemon.processes > 1:
        sys.exit(_run_fleet(loaded.config.daemon.processes))
    _run_one(loaded, lambda: _warned(reload()), share)


def _run_fleet(count: int) -> int:
    import asyncio

    from mailqueue.clock import SystemClock
    from mailqueue.daemon.fleet import Fleet
    from mailqueue.daemon.share import Share
    from mailqueue.daemon.systemd import Notifier
    from mailqueue.events.log import write

    given = sys.argv[1:]

    def command(share: Share) -> list[str]:
        return [sys.executable, "-m", "mailqueue", *given, f"--share={share}"]

    fleet = Fleet(count, command, notifier=Notifier(SystemClock()), emit=write)
    return asyncio.run(fleet.run())


def _run_one(loaded: Loaded, reload: Callable[[], Loaded], share: str | None) -> None:
    import asyncio

    from mailqueue.daemon.loop import loop_factory
    from mailqueue.daemon.share import Share

    part = Share() if share is None else Share.parse(share)
    make_loop = loop_factory(loaded.config.daemon.event_loop)
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(
            _serve(
                part.applied(loaded), lambda: part.applied(reload()), is_member=share is not None
            )
        )


def _loader(config_file: str | None, overrides: Mapping[str, str | None]) -> Callable[[], Loaded]:
    """Return what reads the configuration, at the start and at each reload.

    What the command line says is checked and told in the log like everything else, and a
    reload does not forget it.
    """
    from mailqueue.config import load

    given = {name: value for name, value in overrides.items() if value}
    return lambda: load(config_file, options=given)


def _begin_log(loaded: Loaded, share: str | None) -> Loaded:
    """Set the log up and say in it which configuration holds, once for all processes."""
    from mailqueue.events import log

    settings = loaded.config.log
    journal = goes_to_journal(os.environ, sys.stderr.fileno())
    log.configure(settings.level, settings.format, journal=journal)
    if share is not None:
        return loaded
    log.LOGGER.info("%s", loaded.source)
    return _warned(loaded)


def _warned(loaded: Loaded) -> Loaded:
    from mailqueue.events.log import LOGGER

    for warning in loaded.warnings:
        LOGGER.warning("%s", warning)
    return loaded


def goes_to_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether ``descriptor`` is the stream that systemd made for its journal (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


async def _serve(loaded: Loaded, reload: Callable[[], Loaded], *, is_member: bool) -> None:
    import asyncio

    from mailqueue.assembly import assemble
    from mailqueue.daemon.loop import spare_collector

    supervisor = assemble(loaded, reload=reload)
    spare_collector()
    if is_member:
        # Nobody writes there: it ends with the process that began this one.
        loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

        def orphaned() -> None:
            loop.remove_reader(stdin)
            supervisor.stop("the process that began this one is gone")

        loop.add_reader(stdin, orphaned)
    await supervisor.run()
