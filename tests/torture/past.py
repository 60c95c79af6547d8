"""An outbox at work, and what its files held whenever a commit had returned."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from sqlalchemy import Engine

from mailqueue import Limits, Outbox
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.checkpoint import checkpoint
from mailqueue.outbox.claim import Claim, claim, mark_dot
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.record import Result, Trial, record
from mailqueue.outbox.schema import create
from tests.torture.mails import SENDER, Mail
from tests.torture.sync import Commit, commits

_ERAS = 3
_STEPS = 20
_WORKER = "worker"
_RELAY = "default"
_ANSWERS = (
    Reply(250, "accepted"),
    Reply(250, "accepted"),
    Reply(451, "later"),
    Reply(554, "no"),
    NoReply(NoReplyKind.LOST, "gone"),
)
_TABLES = ("messages", "contents", "recipients", "attempts")


@dataclass(frozen=True, slots=True)
class Moment:
    """A commit has returned. Of the log so many octets are on the disk; the tables say this."""

    synced: int
    fingerprint: str


@dataclass(slots=True)
class Era:
    """From one checkpoint to the next: the file stays as it is, and the log grows."""

    file: bytes
    moments: list[Moment]
    log: bytes = b""


class Past:
    """What happened to the outbox at ``path``, all of it by ``chance``: `Era` after era."""

    def __init__(self, path: Path, chance: Random) -> None:
        self.eras: list[Era] = []
        self._path = path
        self._chance = chance
        self._outbox = Outbox(f"sqlite:///{path}", limits=Limits(free_disk=None))
        self._engine = write_engine(f"sqlite:///{path}")
        self._now = 1_700_000_000_000_000
        self._mails = 0
        self._leased: list[LeasedMessage] = []

    def live(self) -> None:
        """Enqueue, claim, mark and record as applications and a daemon do."""
        create(self._engine)
        with closing(self._outbox), commits() as made:
            for _ in range(_ERAS):
                with self._engine.connect() as connection:
                    checkpoint(connection)
                self.eras.append(Era(self._path.read_bytes(), [self._moment(0)]))
                for _ in range(_STEPS):
                    made.clear()
                    self._step()
                    self._note(made)
        self._engine.dispose()

    def _step(self) -> None:
        self._now += 1_000_000
        what = self._chance.choice((self._claim, self._mark, self._record, self._enqueue))
        if what is not self._enqueue and not (self._leased or what is self._claim):
            what = self._enqueue
        what(self._engine)

    def _enqueue(self, _engine: Engine) -> None:
        self._mails += 1
        mail = Mail(self._mails)
        self._outbox.enqueue(
            mail.raw, sender=SENDER, recipients=mail.recipients, on_doubt=mail.on_doubt
        )

    def _claim(self, engine: Engine) -> None:
        wanted = Claim(_RELAY, _WORKER, 3, 1_000_000, 2**62, 2**62, 0)
        with engine.begin() as connection:
            self._leased += claim(connection, wanted)

    def _mark(self, engine: Engine) -> None:
        leases = self._chance.choice(self._leased).leases
        with engine.begin() as connection:
            mark_dot(connection, leases, worker=_WORKER, now=self._now)

    def _record(self, engine: Engine) -> None:
        message = self._leased.pop(self._chance.randrange(len(self._leased)))
        results = [self._result(message, lease) for lease in message.leases]
        with engine.begin() as connection:
            assert not record(connection, results)

    def _result(self, message: LeasedMessage, lease: Lease) -> Result:
        answer = self._chance.choice(_ANSWERS)
        decision = decide(
            Finding(Evidence(Stage.END_OF_DATA, answer, ".")),
            lease.history,
            Backoff(),
            on_doubt=message.on_doubt,
            now=self._now,
            jitter=self._chance.random(),
        )
        return Result(lease, decision, Trial(_WORKER, _RELAY, self._now, self._now))

    def _note(self, made: list[Commit]) -> None:
        """Note the commit. One that was not synced has put nothing on the disk for certain."""
        era = self.eras[-1]
        era.log = log_of(self._path).read_bytes()
        durable = bool(made) and all(commit.is_durable for commit in made)
        era.moments.append(self._moment(len(era.log) if durable else era.moments[-1].synced))

    def _moment(self, synced: int) -> Moment:
        with closing(sqlite3.connect(self._path)) as connection:
            return Moment(synced, fingerprint(connection))


def log_of(path: Path) -> Path:
    """Return the path of SQLite's log for the file ``path``."""
    return path.with_name(f"{path.name}-wal")


def fingerprint(connection: sqlite3.Connection) -> str:
    """Return what all rows of mails, recipients and attempts are, as one short text."""
    summary = hashlib.sha256()
    for table in _TABLES:
        for row in connection.execute(f"SELECT * FROM mailqueue_{table} ORDER BY 1"):
            summary.update(repr(row).encode())
    return summary.hexdigest()
