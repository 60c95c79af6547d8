"""What a daemon costs that has nothing to do."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.daemon import daemon
from benchmarks.ground import Ground
from benchmarks.measured.delivery import DAEMON, daemon_settings
from benchmarks.measured.end_to_end import warm_up
from benchmarks.processes import cpu_seconds, pss_mib
from benchmarks.receiving import sink

SETTLING = 3.0
"""Seconds that the daemon has after its last mail until it counts as idle."""


def measure(ground: Ground) -> None:
    """Watch a daemon that has sent some mail before."""
    ground.in_turn([(DAEMON, partial(_daemon, ground))])


def _daemon(ground: Ground, system: str) -> None:
    outbox = ground.outboxes.new()
    with sink(ground.room()) as at, daemon(daemon_settings(ground, at, outbox)) as pid:
        warm_up(at, outbox)
        time.sleep(SETTLING)
        began, used = time.monotonic(), cpu_seconds(pid)
        time.sleep(ground.choice.idle_seconds)
        share = (cpu_seconds(pid) - used) / (time.monotonic() - began)
        ground.note("idle", system, percent=share * 100, memory=pss_mib(pid))
    ground.outboxes.remove(outbox)
