"""A long queue: what is as fast with a million mails waiting as with ten thousand."""

from __future__ import annotations

from functools import partial

from benchmarks.daemon import daemon
from benchmarks.ground import Ground, patience
from benchmarks.ledger import WrongCount
from benchmarks.measured.delivery import daemon_settings
from benchmarks.outbox import MeasuredOutbox
from benchmarks.processes import PeakMemory
from benchmarks.program import Program, run_together
from benchmarks.receiving import Sink, sink

SHORT, LONG = "short queue", "long queue"
SHORT_SHARE = 100
"""The short queue holds one mail in so many of the long one's."""
DRAINED_SHARE = 2
"""Of the short queue, one mail in so many is drained, and of the long one as many."""
ENQUEUED = 2000
BEYOND = 10**9
"""Numbers from here on are those of mails that are enqueued to a queue that is full."""


def measure(ground: Ground) -> None:
    """Fill both, put some more in, and drain some."""
    ground.in_turn([(SHORT, partial(_queue, ground)), (LONG, partial(_queue, ground))])


def _queue(ground: Ground, system: str) -> None:
    short = max(2, ground.choice.queued // SHORT_SHARE)
    outbox = ground.outboxes.new()
    try:
        outbox.multiply(short if system == SHORT else ground.choice.queued)
        enqueued = _enqueue(ground, outbox, min(ENQUEUED, short))
        drained, mib = _drain(ground, outbox, short // DRAINED_SHARE)
        ground.note("million", system, enqueue=enqueued, drain=drained, memory=mib)
    finally:
        ground.outboxes.remove(outbox)


def _enqueue(ground: Ground, outbox: MeasuredOutbox, mails: int) -> float:
    log = ground.room() / "producer.log"
    what = ("enqueue-bytes", outbox.url, BEYOND, mails)
    with Program("benchmarks.producer", *what, log=log) as producer:
        (done,) = run_together([producer], timeout=patience(mails))
    return mails / float(done["seconds"])


def _drain(ground: Ground, outbox: MeasuredOutbox, mails: int) -> tuple[float, float]:
    with sink(ground.room()) as at:
        at.expect(mails)
        with daemon(daemon_settings(ground, at, outbox)) as pid, PeakMemory(pid) as memory:
            began = at.first(timeout=patience(mails))
            ended = at.reached(timeout=patience(mails))
        _check(at, outbox)
    return mails / (ended - began), memory.mib


def _check(at: Sink, outbox: MeasuredOutbox) -> None:
    """The daemon was stopped in the midst: what it says it has sent is what has arrived."""
    states = outbox.states()
    at.count().check(states.get("sent", 0))
    if extra := states.keys() - {"sent", "queued"}:
        raise WrongCount(f"recipients are {', '.join(sorted(extra))} after an orderly stop")
