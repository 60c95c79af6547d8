"""One worker without a wire: ``python -m benchmarks.claimer URL ROUNDS BATCH``.

Claims a batch, commits, records that all were sent, commits; and tells how long each claim took.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.program import await_go, tell
from mailqueue.clock import SystemClock, microseconds
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.reply import EnhancedStatus, Evidence, Reply
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.record import Result, Trial, record

LEASE = 120.0
OCTETS = 64 * 1024 * 1024
_TAKEN = Evidence(Stage.END_OF_DATA, Reply(250, "queued", EnhancedStatus(2, 0, 0)), ".")
_clock = SystemClock()


def main() -> None:
    """Claim and record so many rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("rounds", type=int)
    parser.add_argument("batch", type=int)
    chosen = parser.parse_args()
    engine = write_engine(chosen.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
    await_go()
    claims, began, count = [], time.monotonic(), 0
    for _ in range(chosen.rounds):
        asked = time.monotonic()
        with engine.begin() as connection:
            leased = claim(connection, _wanted(chosen.batch))
        claims.append(time.monotonic() - asked)
        count += len(leased)
        with engine.begin() as connection:
            record(connection, [result for each in leased for result in _results(each)])
    engine.dispose()
    tell({"event": "done", "claims": claims, "rate": count / (time.monotonic() - began)})


def _wanted(batch: int) -> Claim:
    now = _clock.now()
    return Claim("default", "claimer", batch, OCTETS, now, now + microseconds(LEASE), 0)


def _results(message: LeasedMessage) -> list[Result]:
    now = _clock.now()
    trial = Trial("claimer", "default", now, now)
    return [
        Result(
            lease,
            decide(
                Finding(_TAKEN), lease.history, Backoff(), on_doubt=OnDoubt.RETRY, now=now, jitter=0
            ),
            trial,
        )
        for lease in message.leases
    ]


if __name__ == "__main__":
    main()
