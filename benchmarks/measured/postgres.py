"""PostgreSQL beside SQLite: enqueue, drain, and claims from a long queue without vacuum."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from statistics import median, quantiles
from typing import Any, Final, Protocol

from sqlalchemy import create_engine, text

from benchmarks.daemon import DaemonSettings, daemon
from benchmarks.ground import Ground, patience
from benchmarks.ledger import WrongCount
from benchmarks.measured.delivery import watch
from benchmarks.outbox import MeasuredOutbox
from benchmarks.postgres import PostgresOutbox, PostgresOutboxes, missing, postgres
from benchmarks.program import Program, run_together
from benchmarks.receiving import sink

SQLITE: Final = "SQLite"
POSTGRES: Final = "PostgreSQL"
DAEMONS: Final = (1, 2, 4)
SHARE: Final = 5
"""Of the mails asked for, one in so many is enqueued by each kind of producer."""
PRODUCERS: Final = 4
BATCH: Final = 100
CLAIMS_SHARE: Final = 40
"""A stretch has one claim, of `BATCH` mails, for so many of the mails asked for."""

HELD: Final = tuple(f"held back, stretch {number}" for number in (1, 2, 3))
STRETCHES: Final = ("long queue", *HELD, "let go")

Measured = MeasuredOutbox | PostgresOutbox


class _Outboxes(Protocol):
    def new(self) -> Measured:
        """Return a new outbox."""

    def remove(self, outbox: Any) -> None:
        """Give its space back."""


def measure(ground: Ground) -> None:
    """Measure everything once, on a server that is made for this round."""
    if why := missing():
        ground.leave_out(f"PostgreSQL ({why})")
        return
    with postgres(ground.room()) as outboxes:
        ground.say(f"  {outboxes.settings()}")
        places: dict[str, _Outboxes] = {SQLITE: ground.outboxes, POSTGRES: outboxes}
        ground.in_turn(
            [
                (drained(place, count), partial(_drain, ground, places[place], count))
                for count in DAEMONS
                for place in places
            ]
        )
        for kind in KINDS:
            ground.in_turn(
                [
                    (f"{place}, {kind}", partial(_enqueue, ground, places[place], kind))
                    for place in places
                ]
            )
        ground.in_turn([("claims", partial(_claims, ground, outboxes))])


def drained(place: str, daemons: int) -> str:
    """Return the name of a drain."""
    return f"{place}, {daemons} daemon{'s' if daemons > 1 else ''}"


def _drain(ground: Ground, outboxes: _Outboxes, daemons: int, system: str) -> None:
    mails = ground.choice.mails
    outbox = outboxes.new()
    with sink(ground.room()) as at:
        directory = ground.room()
        settings = DaemonSettings(directory, outbox.url, at.port, ground.choice.sessions, daemons)
        outbox.fill(0, mails, log=directory / "fill.log", timeout=patience(mails))
        at.expect(mails)
        with daemon(settings) as pid:
            found = watch(at, mails, root=pid, is_empty=outbox.is_finished, begin=lambda: None)
    outboxes.remove(outbox)
    ground.note("postgres", system, rate=found.rate, cpu=found.cpu)


KINDS: Final = {
    "one by one": ("enqueue-bytes", 1),
    f"{PRODUCERS} producers": ("enqueue-bytes", PRODUCERS),
    "100 at once": ("enqueue-many", 1),
}


def _enqueue(ground: Ground, outboxes: _Outboxes, what: str, system: str) -> None:
    kind, producers = KINDS[what]
    each = max(BATCH, ground.choice.mails // SHARE // producers // BATCH * BATCH)
    outbox = outboxes.new()
    log = ground.room() / "producer.log"
    with contextlib.ExitStack() as stack:
        programs = [
            stack.enter_context(
                Program("benchmarks.producer", kind, outbox.url, number * each, each, log=log)
            )
            for number in range(producers)
        ]
        done = run_together(programs, timeout=patience(each * producers))
    if (stored := sum(outbox.states().values())) != each * producers:
        raise WrongCount(f"{stored} mails stored, and not {each * producers}")
    outboxes.remove(outbox)
    seconds = max(one["began"] + one["seconds"] for one in done) - min(one["began"] for one in done)
    ground.note("postgres", system, rate=each * producers / seconds)


def _claims(ground: Ground, outboxes: PostgresOutboxes, _system: str) -> None:
    """Claim from a short queue, a long one, and a long one whose dead rows cannot be removed."""
    stretch = _claims_each(ground) * BATCH
    short = outboxes.new()
    short.multiply(2 * stretch)
    _stretch(ground, short, "short queue")
    outboxes.remove(short)
    long = outboxes.new()
    long.multiply(max(ground.choice.queued, 6 * stretch))
    _stretch(ground, long, "long queue")
    with _reading(long):
        for name in HELD:
            _stretch(ground, long, name)
    _stretch(ground, long, "let go")
    outboxes.remove(long)


def _stretch(ground: Ground, outbox: PostgresOutbox, name: str) -> None:
    log = ground.room() / "claimer.log"
    count = _claims_each(ground)
    with Program("benchmarks.claimer", outbox.url, count, BATCH, log=log) as claimer:
        (done,) = run_together([claimer], timeout=patience(count * BATCH))
    milliseconds = [1000 * seconds for seconds in done["claims"]]
    ground.note(
        "postgres claims",
        name,
        median=median(milliseconds),
        p95=quantiles(milliseconds, n=20)[-1],
        rate=done["rate"],
        dead=_dead(outbox),
    )


def _claims_each(ground: Ground) -> int:
    return max(5, ground.choice.mails // CLAIMS_SHARE)


def _dead(outbox: PostgresOutbox) -> int:
    """Return how many dead rows the server knows of in the table of recipients."""
    found = outbox.ask(
        "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'mailqueue_recipients'"
    )
    return int(found[0][0])


@contextlib.contextmanager
def _reading(outbox: PostgresOutbox) -> Iterator[None]:
    """Hold a snapshot open, as a report or a forgotten shell does."""
    engine = create_engine(outbox.url, isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        connection.execute(text("SELECT count(*) FROM mailqueue_messages"))
        yield
    engine.dispose()
