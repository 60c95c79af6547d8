"""The daemon's only writer: many results and the next claims in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from mailqueue.clock import Clock
from mailqueue.daemon.outcome import Attempt, Writes, proof_of
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxError
from mailqueue.events import DatabaseRecovered, DatabaseTrouble, Emit
from mailqueue.outbox.record import Entry, Result, entry_of, record_entries
from mailqueue.outbox.retry import until_taken

T = TypeVar("T")

GATHER_SECONDS = 0.002
"""How long a result waits for others to share its commit with."""
GATHERED = 200
"""So many recipients are company enough."""
SPACING_SECONDS = 0.01
"""From the end of a transaction to the next, unless that one has company enough. On an idle system
a claim waits for nothing; where mail comes all the time, it would else be claimed one by one, each
time with a flush during which no producer can write. The doorbell rests for as long, because what
rings meanwhile would be claimed no earlier."""
RISK_SECONDS = 0.25
"""How old an unwritten result may grow before nothing more is sent: what a crash now would leave in
doubt must not grow while the database is slow."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


Written = Callable[[Sequence[Result] | BaseException], None]
"""Hears after the commit which results were refused for want of the lease; or what made it fail."""


@dataclass(slots=True)
class _Results:
    entries: Sequence[Entry]
    written: Written


class Recorder(Service):
    """Gathers what is to be written while a commit is under way, then writes it as one.

    A result is kept until it is written: as long as the database refuses, it is tried
    again, nothing is forgotten, and nobody who waits is told that it was written.
    """

    def __init__(self, transaction: Writes, clock: Clock, emit: Emit) -> None:
        super().__init__(emit)
        self._transaction = transaction
        self._clock = clock
        self._jobs: list[_Job] = []
        self._results: list[_Results] = []
        self._writing = False
        self._ended_at = float("-inf")
        """When the last transaction ended, by the loop's time."""
        self._gathering = False
        self._gathered = 0
        self._owed_since: float | None = None
        """When the oldest result that is not written was handed in (monotonic seconds)."""
        self._gathered_since = 0.0
        """When the oldest of those was that wait for the next transaction."""
        self._written = asyncio.Event()
        self._troubled_since: float | None = None
        self._told: str | None = None
        self.last_answer = clock.monotonic()
        """When the database last said yes or no (monotonic seconds): silence is being stuck."""

    @property
    def is_troubled(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._troubled_since is not None

    @property
    def is_behind(self) -> bool:
        """Whether a result has waited for its commit for too long to take on more risk."""
        owed_since = self._owed_since
        return owed_since is not None and self._clock.monotonic() - owed_since > RISK_SECONDS

    async def caught_up(self) -> None:
        """Return when it is not behind."""
        while self.is_behind:
            self._written.clear()
            await self._written.wait()

    @property
    def is_idle(self) -> bool:
        """Whether everything handed in has been written."""
        return not (self._jobs or self._results or self._writing)

    async def record(self, results: Sequence[Result]) -> list[Result]:
        """Write ``results``; returns, after the commit, those refused for want of the lease."""
        done: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.hand_in(results, partial(_answer, done))
        return await done

    def hand_in(self, results: Sequence[Result], written: Written) -> None:
        """Take ``results`` to be written; ``written`` is called after the commit."""
        part = _Results((), written)
        if self._has_ended:
            _let_go([], [part])
            return
        try:
            part.entries = [entry_of(result) for result in results]
        except Exception as error:  # noqa: BLE001 - of this delivery, and of no other
            _tell(part, error)
            return
        if not self._results:
            self._gathered_since = self._clock.monotonic()
            if self._owed_since is None:
                self._owed_since = self._gathered_since
        self._results.append(part)
        self._gathered += len(results)
        if not self._gathering or self._gathered >= GATHERED:
            self.wake.ring()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in the next transaction; returns its value after the commit.

        What ``work`` raises is raised here, and costs the others in its transaction nothing.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(work, done))
        if self._has_ended:
            done.cancel()
        self.wake.ring()
        return await done

    @property
    def _has_ended(self) -> bool:
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        while not (self.stopping and self.is_idle):
            if self.is_idle:
                await self.wake.wait(None)
            else:
                await self._gather()
                await self._write_all()

    async def _gather(self) -> None:
        """Let others join, for a moment; a claim waits for no results, because sessions wait for
        it.
        """
        loop = asyncio.get_running_loop()
        company_until = loop.time() + GATHER_SECONDS
        self._gathering = True
        try:
            # Whoever was woken with us may have something for the same transaction: the row of a
            # relay goes with the results that change it.
            await asyncio.sleep(0)
            while not (self._gathered >= GATHERED or self.stopping):
                until = self._ended_at + SPACING_SECONDS
                if not self._jobs:
                    until = max(until, company_until)
                if (left := until - loop.time()) <= 0:
                    return
                await self.wake.wait(left)
        finally:
            self._gathering = False

    async def _write_all(self) -> None:
        jobs, self._jobs = self._jobs, []
        results, self._results = self._results, []
        self._gathered = 0
        self._writing = True
        try:
            await self._commit(jobs, results)
        except asyncio.CancelledError:
            _let_go(jobs, results)
            raise
        finally:
            self._writing = False
            self._ended_at = asyncio.get_running_loop().time()
            self._owed_since = self._gathered_since if self._results else None
            self._written.set()

    async def _commit(self, jobs: list[_Job], results: list[_Results]) -> None:
        try:
            values, refused = await self._write_until_taken(jobs, results)
        except Exception:  # noqa: BLE001 - one bad write must not cost the others
            await self._one_by_one(jobs, results)
        else:
            _resolve(jobs, values, results, refused)

    async def _write_until_taken(
        self, jobs: Sequence[_Job], results: Sequence[_Results]
    ) -> tuple[list[Any], list[Result]]:
        together = [entry for part in results for entry in part.entries]
        attempt = Attempt(
            self._transaction,
            lambda connection: _apply(connection, jobs, together),
            lambda written: proof_of(written[0], [one.result for one in together], written[1]),
        )
        written = await until_taken(
            attempt,
            sleep=self._pause,
            jitter=self._clock.random,
            refused=self._refused,
        )
        self._recovered()
        return written

    async def _pause(self, seconds: float) -> None:
        """Wait, however much is handed in meanwhile; only the stop cuts it short."""
        was_stopping = self.stopping
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.stopping is was_stopping:
                    await self.wake.wait(None)

    def _refused(self, error: OutboxError) -> None:
        self.last_answer = self._clock.monotonic()
        if self._troubled_since is None:
            self._troubled_since = self.last_answer
        if self._told != str(error):
            self._told = str(error)
            self.emit(DatabaseTrouble("writing to the outbox", self._told))

    def _recovered(self) -> None:
        self.last_answer = self._clock.monotonic()
        if self._troubled_since is not None:
            self.emit(DatabaseRecovered(self._clock.monotonic() - self._troubled_since))
            self._troubled_since = self._told = None

    async def _one_by_one(self, jobs: list[_Job], results: list[_Results]) -> None:
        """Find the write that raised: each gets a transaction of its own, and its own error."""
        for single in results:
            await self._alone([], [single])
        for job in jobs:
            await self._alone([job], [])

    async def _alone(self, jobs: list[_Job], results: list[_Results]) -> None:
        try:
            values, refused = await self._write_until_taken(jobs, results)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for it
            _disappoint(jobs, results, error)
        else:
            _resolve(jobs, values, results, refused)

    async def abort(self) -> None:
        """End at once; whoever still waits is told that nothing is known."""
        await super().abort()
        _let_go(self._jobs, self._results)


def _let_go(jobs: Sequence[_Job], results: Sequence[_Results]) -> None:
    for job in jobs:
        job.done.cancel()
    for part in results:
        _tell(part, asyncio.CancelledError())


def _disappoint(jobs: Sequence[_Job], results: Sequence[_Results], error: Exception) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)
    for part in results:
        _tell(part, error)


def _apply(
    connection: Connection, jobs: Sequence[_Job], entries: Sequence[Entry]
) -> tuple[list[Any], list[Result]]:
    # Results first: what they free may be claimed by a job of the same transaction.
    refused = record_entries(connection, entries) if entries else []
    return [job.work(connection) for job in jobs], refused


def _resolve(
    jobs: Sequence[_Job],
    values: Sequence[Any],
    results: Sequence[_Results],
    refused: Sequence[Result],
) -> None:
    for job, value in zip(jobs, values, strict=True):
        if not job.done.done():
            job.done.set_result(value)
    rejected = set(map(id, refused))
    for part in results:
        mine = _among(rejected, part.entries) if rejected else ()
        _tell(part, mine)


def _among(rejected: set[int], entries: Sequence[Entry]) -> list[Result]:
    return [entry.result for entry in entries if id(entry.result) in rejected]


def _tell(part: _Results, outcome: Sequence[Result] | BaseException) -> None:
    # Once: whoever lets go of all does not know who has been told.
    written, part.written = part.written, _hear_nothing
    try:
        written(outcome)
    except Exception as error:  # noqa: BLE001 - the others of its transaction must hear as well
        context = {"message": "whoever was told of written results raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


def _hear_nothing(_: Sequence[Result] | BaseException) -> None:
    """Stand in for whoever has been told."""


def _answer(done: asyncio.Future[list[Result]], outcome: Sequence[Result] | BaseException) -> None:
    if done.done():
        return
    if isinstance(outcome, asyncio.CancelledError):
        done.cancel()
    elif isinstance(outcome, BaseException):
        done.set_exception(outcome)
    else:
        done.set_result(list(outcome))
