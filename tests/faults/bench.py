"""Cells made to happen: many at once, each with a relay of its own, all with one daemon."""

from __future__ import annotations

import contextlib
import sqlite3
import ssl
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trustme

from mailqueue import events
from mailqueue.mail.reply import Reply
from mailqueue.outbox.enqueue import Draft
from mailqueue.testing import Ledger
from tests.acceptance.invariants import assert_sound
from tests.faults.cells import Cell, Place
from tests.faults.expectation import Expectation, Pause, Row
from tests.faults.rulings import ACCEPTED
from tests.faults.trial import Trial, relay_for
from tests.support.daemon import BODY, Daemon, OutboxFile, PassingClock, running, until

BACKOFFS = 1000.0
"""Seconds after which everything that was deferred once is due again."""
_PATIENCE = 60.0
_LONG = BODY + (b"." * 77 + b"\r\n") * (8 * 1024 * 1024 // 79)
"""More than the system (4 MiB on most) and the event loop hold for a relay that does not read."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of a cell, in the form of an `Expectation`, and what it broke, if anything."""

    cell: Cell
    seen: Expectation
    breaches: tuple[str, ...]
    duplicates: int
    doubts: int
    transcript: str
    pipelined: bool = False


async def observe(cells: Sequence[Cell], *, pipelined: bool = False) -> list[Observation]:
    """Let all ``cells`` happen at once, wait until nothing is due any more, and tell."""
    with tempfile.TemporaryDirectory(prefix="faults") as directory:
        async with _bench_for(Path(directory), cells, pipelined=pipelined) as bench:
            await bench.run()
            return bench.observations()


class Bench:
    """The trials of one round, their outbox, and the daemon that serves them."""

    def __init__(self, outbox: OutboxFile, daemon: Daemon, trials: Sequence[Trial]) -> None:
        self.trials = trials
        self._outbox = outbox
        self._daemon = daemon
        self._asked_before: Counter[str] = Counter()

    async def run(self) -> None:
        """Play all trials through: mail before, the mail itself, mail after, and better days."""
        await self._put_primers()
        await self._put_targets()
        await self._put_afterwards()
        await self._recover()

    async def _put_primers(self) -> None:
        for trial in self.trials:
            trial.prepare()
        primed = [trial for trial in self.trials if trial.cell.reused]
        self._outbox.put_all([self._mail(trial, trial.primer) for trial in primed])
        await self._settled()

    async def _put_targets(self) -> None:
        for trial in self.trials:
            trial.misbehave()
        self._outbox.put_all(
            [
                self._mail(
                    trial,
                    *trial.addresses,
                    raw=_LONG if trial.cell.place is Place.LONG_BODY else BODY,
                    on_doubt=trial.cell.on_doubt,
                )
                for trial in self.trials
            ]
        )
        await self._settled()

    async def _put_afterwards(self) -> None:
        self._outbox.put_all([self._mail(trial, trial.after) for trial in self.trials])
        await self._settled()
        attempts = self._attempts()
        for trial in self.trials:
            trial.look(attempts)
            # QUIT is said in the background. A cell that does not show its fault proves nothing.
            await until(partial(getattr, trial, "has_misbehaved"), what=trial.__str__)
        self._asked_before = self._asked()

    async def _recover(self) -> None:
        for trial in self.trials:
            trial.relay.script.clear()
        await self._daemon.let_pass(BACKOFFS)
        await self._settled("deferred")

    def _mail(self, trial: Trial, *addresses: str, **message: Any) -> Draft:
        return self._outbox.draft(*addresses, relay=trial.name, **message)

    async def _settled(self, *other_states: str) -> None:
        """Return once nobody is in these states, or under way."""
        states = ("queued", "sending", *other_states)
        marks = ", ".join("?" * len(states))
        with contextlib.closing(sqlite3.connect(self._outbox.path, timeout=10)) as connection:
            query = f"SELECT count(*) FROM mailqueue_recipients WHERE state IN ({marks})"
            await until(
                lambda: bool(connection.execute(query, states).fetchone() == (0,)),
                what=lambda: self._unsettled(states),
                timeout=_PATIENCE,
            )

    def _unsettled(self, states: Sequence[str]) -> str:
        rows = self._outbox.query("SELECT address, state, last_text FROM mailqueue_recipients")
        lines = [str(tuple(row)) for row in rows if row["state"] in states]
        return "\n".join([*map(str, self.trials), *lines])

    def _attempts(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for one in self._outbox.attempts():
            columns = {name: one[name] for name in ("verdict", "scope", "rule", "stage", "code")}
            found[one["address"]].append(Row(**columns, charged=bool(one["charged"])))
        return found

    def _asked(self) -> Counter[str]:
        """Return how often each address was named to a relay."""
        return Counter(
            line.partition("<")[2].partition(">")[0]
            for trial in self.trials
            for session in trial.relay.ledger.sessions
            for line in session.commands
            if line.startswith("RCPT")
        )

    # What came of it

    def observations(self) -> list[Observation]:
        """Return what came of each cell."""
        assert_sound(self._outbox)
        asked, attempts = self._asked(), self._attempts()
        return [self._observation(trial, asked, attempts) for trial in self.trials]

    def _observation(
        self, trial: Trial, asked: Mapping[str, int], attempts: Mapping[str, Sequence[Row]]
    ) -> Observation:
        final = self._outbox.query(
            "SELECT address, state, doubts FROM mailqueue_recipients WHERE relay = ?", trial.name
        )
        breaches = [
            f"{row['address']} {what}"
            for row in final
            for what in self._breaches(row, trial.relay.ledger, asked, attempts[row["address"]])
        ]
        breaches += [
            f"something was written too early behind {line}"
            for session in trial.relay.ledger.sessions
            for line in session.hasty
        ]
        seen = trial.seen(self._pauses(trial))
        received = [trial.relay.ledger.deliveries(row["address"]) for row in final]
        return Observation(
            trial.cell,
            seen,
            tuple(breaches),
            duplicates=sum(count > 1 for count in received),
            doubts=sum(row["doubts"] for row in final),
            pipelined=trial.pipelined,
            transcript="\n--\n".join(one.transcript for one in trial.relay.ledger.sessions),
        )

    def _pauses(self, trial: Trial) -> Iterator[Pause]:
        for told in self._daemon.told(events.RelayPaused):
            if told.relay == trial.name:
                answer = told.evidence.answer
                code = answer.code if isinstance(answer, Reply) else None
                yield Pause(str(told.evidence.stage), code)

    def _breaches(
        self, row: sqlite3.Row, ledger: Ledger, asked: Mapping[str, int], attempts: Sequence[Row]
    ) -> Iterator[str]:
        """Say which promises were broken to this recipient, whatever was expected of the cell."""
        address, state, doubts = row
        received = ledger.deliveries(address)
        if received > 1 + doubts:
            yield f"got the mail {received} times, with {doubts} doubts on record"
        if state == "sent" and not received:
            yield "is sent, and the relay never took the mail"
        if state == "failed" and (received or asked[address] != self._asked_before[address]):
            yield "had failed, and was tried again"
        if state not in ("sent", "failed") and not (state == "held" and doubts):
            yield f"is {state} though the relay has recovered"
        if any(one.charged and one.scope in ("relay", "local") for one in attempts):
            yield "was charged for trouble that was not the mail's"
        if address.startswith("after") and attempts != [ACCEPTED]:
            yield "had nothing to do with it, and was not sent to at once"


@contextlib.asynccontextmanager
async def _bench_for(
    directory: Path, cells: Sequence[Cell], *, pipelined: bool
) -> AsyncIterator[Bench]:
    server_tls, ca_file = _certificates(directory)
    outbox = OutboxFile(directory / "outbox.db")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(outbox.close)
        trials = [
            Trial(
                cell,
                await stack.enter_async_context(relay_for(cell, server_tls)),
                number,
                pipelined=pipelined,
            )
            for number, cell in enumerate(cells, 1)
        ]
        relays = {trial.name: trial.keys(ca_file) for trial in trials}
        # Whatever is to happen is announced, so that nothing need be found by looking again.
        pace = {"default_relay": trials[0].name, "poll": 2, "poll_max": 5}
        daemon = await stack.enter_async_context(
            running(outbox, relays, clock=PassingClock(), daemon=pace)
        )
        yield Bench(outbox, daemon, trials)


def _certificates(directory: Path) -> tuple[ssl.SSLContext, str]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return context, str(file)
