"""Producers and delivery at once, from the first enqueue until the queue is empty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from benchmarks import mails as made
from benchmarks.daemon import daemon
from benchmarks.ground import Ground, await_that, patience
from benchmarks.measured.delivery import (
    DAEMON,
    daemon_settings,
    postfix_settings,
    postfixes,
)
from benchmarks.outbox import MeasuredOutbox
from benchmarks.postfix import postfix
from benchmarks.processes import PeakMemory, cpu_seconds
from benchmarks.program import Program, begin_together
from benchmarks.receiving import Sink, sink
from mailqueue import Outbox

CONCURRENT = "mailqueue, AsyncOutbox"
WARM_UP = 100
"""Mails that go through before: processes are started, caches filled, sessions known."""


def measure(ground: Ground) -> None:
    """Send through each system once."""
    systems: list[tuple[str, Callable[[str], None]]] = [
        (DAEMON, partial(_daemon, ground, "enqueue-bytes")),
        (CONCURRENT, partial(_daemon, ground, "enqueue-concurrent")),
    ]
    systems += [(name, partial(_postfix, ground)) for name in postfixes(ground)]
    ground.in_turn(systems)


def shares(mails: int, producers: int) -> list[range]:
    """Return the numbers of the mails of each producer; none is left over."""
    bounds = [mails * part // producers for part in range(producers + 1)]
    return [range(low, high) for low, high in pairwise(bounds)]


def _daemon(ground: Ground, kind: str, system: str) -> None:
    chosen = ground.choice
    outbox = ground.outboxes.new()
    with sink(ground.room()) as at:
        profile = ground.profile("end to end", chosen.mails)
        settings = daemon_settings(ground, at, outbox, profile=profile)
        with daemon(settings) as pid, _producers(ground, outbox, kind) as producers:
            warm_up(at, outbox)
            with PeakMemory(pid) as memory:
                used = cpu_seconds(pid)
                at.expect(chosen.mails)
                begin_together(producers, timeout=patience(chosen.mails))
                done = [each.hear("done", timeout=patience(chosen.mails)) for each in producers]
                ended = _ended(at, outbox.is_finished, chosen.mails)
                used = cpu_seconds(pid) - used + sum(each["cpu"] for each in done)
    began = min(each["began"] for each in done)
    _note(ground, system, ended - began, used, memory.mib)
    ground.outboxes.remove(outbox)


@contextlib.contextmanager
def _producers(ground: Ground, outbox: MeasuredOutbox, kind: str) -> Iterator[list[Program]]:
    log = ground.room() / "producers.log"
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                Program(
                    "benchmarks.producer",
                    kind,
                    outbox.url,
                    part.start,
                    len(part),
                    log=log,
                )
            )
            for part in shares(ground.choice.mails, ground.choice.producers)
        ]


def warm_up(at: Sink, outbox: MeasuredOutbox) -> None:
    """Send some mails through a daemon that has just been started, until it is idle again."""
    at.expect(WARM_UP)
    with Outbox(outbox.url) as entrance:
        entrance.enqueue_many([made.raw(-number - 1) for number in range(WARM_UP)])
    at.reached(timeout=patience(WARM_UP))
    await_that(outbox.is_finished, timeout=patience(WARM_UP))


def _postfix(ground: Ground, system: str) -> None:
    mails, sessions = ground.choice.mails, ground.choice.producers
    with sink(ground.room()) as at:
        settings = postfix_settings(ground, at, system)
        with postfix(settings, delivers=True) as instance:
            at.expect(WARM_UP)
            instance.inject(WARM_UP, sessions=sessions, timeout=patience(WARM_UP))
            at.reached(timeout=patience(WARM_UP))
            began = await_that(instance.is_empty, timeout=patience(WARM_UP))
            with PeakMemory(instance.pid) as memory:
                used = cpu_seconds(instance.pid)
                at.expect(mails)
                instance.inject(mails, sessions=sessions, timeout=patience(mails))
                ended = _ended(at, instance.is_empty, mails)
                used = cpu_seconds(instance.pid) - used
    _note(ground, system, ended - began, used, memory.mib)


def _ended(at: Sink, is_empty: Callable[[], bool], mails: int) -> float:
    timeout = patience(mails)
    at.reached(timeout=timeout)
    ended = await_that(is_empty, timeout=timeout)
    at.count().check(mails)
    return ended


def _note(ground: Ground, system: str, seconds: float, used: float, mib: float) -> None:
    mails = ground.choice.mails
    ground.note("end to end", system, rate=mails / seconds, cpu=used / mails * 1000, memory=mib)
