"""A full queue into a sink: mails a second, CPU and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.daemon import daemon, has_processes
from benchmarks.ground import Ground, patience
from benchmarks.measured.delivery import (
    DAEMON,
    Delivered,
    daemon_settings,
    postfix_settings,
    postfixes,
    watch,
)
from benchmarks.postfix import postfix
from benchmarks.receiving import Sink, sink

TWO = "mailqueue, 2 processes"


def measure(ground: Ground) -> None:
    """Drain each system once."""
    systems: list[tuple[str, Callable[[str], None]]] = [(DAEMON, partial(_daemon, ground, 1))]
    if not has_processes():
        ground.leave_out("two processes (`mailqueue run` has no --processes)")
    elif ground.choice.profile is None:
        systems.append((TWO, partial(_daemon, ground, 2)))
    systems += [(name, partial(_postfix, ground)) for name in postfixes(ground)]
    ground.in_turn(systems)


def drain_outbox(ground: Ground, at: Sink, processes: int = 1) -> Delivered:
    """Fill an outbox, and let the daemon drain it into ``at``."""
    mails = ground.choice.mails
    outbox = ground.outboxes.new()
    profile = ground.profile("drain", mails)
    settings = daemon_settings(ground, at, outbox, processes=processes, profile=profile)
    outbox.fill(0, mails, log=settings.directory / "fill.log", timeout=patience(mails))
    at.expect(mails)
    with daemon(settings) as pid:
        found = watch(at, mails, root=pid, is_empty=outbox.is_finished, begin=lambda: None)
    ground.outboxes.remove(outbox)
    return found


def drain_postfix(ground: Ground, at: Sink, system: str) -> Delivered:
    """Fill Postfix's queue while it does not deliver, and let it drain into ``at``."""
    mails = ground.choice.mails
    with postfix(postfix_settings(ground, at, system), delivers=False) as instance:
        instance.inject(mails, sessions=ground.choice.producers, timeout=patience(mails))
        at.expect(mails)
        return watch(
            at, mails, root=instance.pid, is_empty=instance.is_empty, begin=instance.let_go
        )


def _daemon(ground: Ground, processes: int, system: str) -> None:
    with sink(ground.room()) as at:
        _note(ground, system, drain_outbox(ground, at, processes))


def _postfix(ground: Ground, system: str) -> None:
    with sink(ground.room()) as at:
        _note(ground, system, drain_postfix(ground, at, system))


def _note(ground: Ground, system: str, found: Delivered) -> None:
    ground.note("drain", system, rate=found.rate, cpu=found.cpu, memory=found.mib)
