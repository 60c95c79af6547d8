"""One mail now and then on an idle system: how long until the sink has its final dot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

from benchmarks.daemon import daemon
from benchmarks.ground import Ground, patience
from benchmarks.ledger import WrongCount
from benchmarks.measured.delivery import (
    DAEMON,
    POSTFIX,
    daemon_settings,
    postfix_settings,
)
from benchmarks.measured.end_to_end import warm_up
from benchmarks.postfix import postfix
from benchmarks.program import Program, run_together
from benchmarks.receiving import Sink, sink

WARM_UP = 5
"""The first samples are left out: processes are started by them, and caches filled."""


def measure(ground: Ground) -> None:
    """Take the samples of each system."""
    systems: list[tuple[str, Callable[[str], None]]] = [(DAEMON, partial(_daemon, ground))]
    if ground.has_postfix():
        systems.append((POSTFIX, partial(_postfix, ground)))
    ground.in_turn(systems)


def delays(began: Mapping[str, float], arrived: Mapping[str, float]) -> list[float]:
    """Return the seconds of each sample; raises `WrongCount` where one never arrived."""
    lost = began.keys() - arrived.keys()
    if lost:
        raise WrongCount(f"{len(lost)} of {len(began)} mails did not arrive")
    return [arrived[recipient] - at for recipient, at in began.items()][WARM_UP:]


def _daemon(ground: Ground, system: str) -> None:
    outbox = ground.outboxes.new()
    with sink(ground.room()) as at:
        settings = daemon_settings(ground, at, outbox)
        with daemon(settings):
            warm_up(at, outbox)
            _sample(ground, at, system, "benchmarks.producer", "one-by-one", outbox.url)
    ground.outboxes.remove(outbox)


def _postfix(ground: Ground, system: str) -> None:
    with sink(ground.room()) as at:
        settings = postfix_settings(ground, at, system)
        with postfix(settings, delivers=True) as instance:
            _sample(ground, at, system, "benchmarks.submitter", instance.port)


def _sample(ground: Ground, at: Sink, system: str, *program: object) -> None:
    samples = ground.choice.samples + WARM_UP
    at.expect(samples)
    module, *arguments = program
    log = ground.room() / "producer.log"
    with Program(str(module), *arguments, 0, samples, log=log) as producer:
        (done,) = run_together([producer], timeout=patience(samples))
        at.reached(timeout=patience(samples))
    at.count().check(samples)
    found = [seconds * 1000 for seconds in delays(done["times"], at.times())]
    ground.note("latency", system, median=median(found), most=max(found))
