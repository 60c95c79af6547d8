"""The course of a copy, step by step; whatever ends it, running it again goes on from there.

See docs/decisions/0056-the-course-of-a-copy.md for the order, and what a crash leaves at each step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

from mailqueue.clock import Clock
from mailqueue.failpoint import reach
from mailqueue.operate.access import Access
from mailqueue.operate.copying import pauses
from mailqueue.operate.copying.comparison import Compared, compare
from mailqueue.operate.copying.drain import Patience, drain, leased
from mailqueue.operate.copying.refusals import CopyError, DifferenceError
from mailqueue.operate.copying.rows import COPIED, count
from mailqueue.operate.copying.sequences import go_on_behind, last_ids
from mailqueue.operate.copying.survey import Survey, refuse_mail, survey
from mailqueue.operate.copying.transfer import transfer
from mailqueue.operate.copying.undoing import undo
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.fence import Fence, Phase, passing, put_up, standing, take_away
from mailqueue.outbox.location import describe
from mailqueue.outbox.reap import Policies
from mailqueue.outbox.tables import messages


class Watch(Protocol):
    """Is told how a copy gets on."""

    def say(self, text: str) -> None:
        """Say what begins."""

    def total(self, rows: int) -> None:
        """Say how many rows there are to copy and to compare, in all."""

    def done(self, rows: int) -> None:
        """Say that so many more are."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was copied and found to be the same. ``last_ids`` are those of the source."""

    source: str
    target: str
    tables: tuple[Compared, ...]
    last_ids: dict[str, int]
    relays: int


class Copy:
    """One outbox on its way to another database. Use it with ``with``."""

    def __init__(
        self, source: str, target: str, *, busy_timeout: float, clock: Clock, policies: Policies
    ) -> None:
        self._urls = source, target
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._policies = policies
        self._source = Access(source, busy_timeout)
        self._target = Access(target, busy_timeout)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections; fences stay as they are."""
        self._source.close()
        self._target.close()

    def survey(self) -> Survey:
        """Look at both sides and write nothing; raises `CopyError` where it cannot be."""
        return survey(self._source, *self._urls)

    def run(self, watch: Watch, *, wait: float) -> Report | None:
        """Copy, compare, and let the target go; None where that was done already.

        ``wait``: seconds for what is leased. Raises `CopyError`, and `OutboxError` where a
        database cannot be used; then the fences stay, and running it again goes on.
        """
        found = self.survey()
        if found.is_done:
            return None
        if found.arrival is None:
            self._make_target()
        fence = self._close_source(found)
        self._close_target(fence)
        if fence.phase is Phase.DRAINING:
            fence = self._drain(fence, watch, wait)
        watch.total(2 * sum(found.rows.values()) - sum(found.there.values()))
        if fence.phase is Phase.COPYING:
            self._transfer(fence, watch)
        report = self._compare(watch)
        self._hand_over(fence)
        return report

    def undo(self) -> int:
        """Give the copy up: empty the target, and open the source. Returns the rows removed.

        Raises `CopyError` where the target has been let go.
        """
        return undo(self._source, self._target, *self._urls)

    def _make_target(self) -> None:
        url = self._urls[1]
        with translating(url):
            engine = write_engine(url, busy_timeout=self._busy_timeout)
            try:
                schema.upgrade(engine)
            finally:
                engine.dispose()

    def _close_source(self, found: Survey) -> Fence:
        with self._source.writing() as connection:
            fence = standing(connection)
            if fence is None:
                fence = Fence(
                    self._clock.token(16), Phase.DRAINING, found.target, self._clock.now()
                )
                put_up(connection, fence, patience=self._busy_timeout)
            reach("before", "copy-fence-commit")
        reach("after", "copy-fence-commit")
        return fence

    def _close_target(self, fence: Fence) -> None:
        source = describe(self._urls[0])
        with self._target.writing() as connection:
            arrival = standing(connection)
            if arrival is None:
                arrival = replace(fence, phase=Phase.ARRIVING, place=source)
                put_up(connection, arrival, patience=self._busy_timeout)
                # Looked at once more: until now anybody could enqueue there.
                refuse_mail(describe(self._urls[1]), count(connection, messages))
            if arrival.id != fence.id:
                raise CopyError(f"{describe(self._urls[1])} {arrival}, by another copy")
            reach("before", "copy-arrival-commit")
        reach("after", "copy-arrival-commit")

    def _drain(self, fence: Fence, watch: Watch, wait: float) -> Fence:
        patience = Patience(wait, self._policies, self._clock)
        drain(
            self._source,
            patience,
            waiting=lambda left: watch.say(f"waiting for the results of {left} recipients"),
        )
        with self._source.writing() as connection:
            sealed = replace(fence, phase=Phase.COPYING)
            put_up(connection, sealed, patience=self._busy_timeout)
            if leased(connection):
                raise CopyError("somebody claims behind the fence; look for what is no mailqueue")
            reach("before", "copy-seal-commit")
        reach("after", "copy-seal-commit")
        return sealed

    def _transfer(self, fence: Fence, watch: Watch) -> None:
        watch.say("copying")
        for table in COPIED:
            transfer(self._source, self._target, table, copy=fence.id, done=watch.done)
        with self._source.reading() as connection:
            last, rows = last_ids(connection), pauses.read(connection)
        with self._target.writing() as connection, passing(connection, fence.id):
            go_on_behind(connection, last)
            reach("before", "copy-sequences-commit")
        reach("after", "copy-sequences-commit")
        with self._target.writing() as connection, passing(connection, fence.id):
            pauses.write(connection, rows)
            reach("before", "copy-relays-commit")
        reach("after", "copy-relays-commit")

    def _compare(self, watch: Watch) -> Report:
        watch.say("comparing")
        reach("before", "copy-compare")
        tables = tuple(
            compare(self._source, self._target, table, done=watch.done) for table in COPIED
        )
        with self._source.reading() as connection:
            last, ours = last_ids(connection), pauses.read(connection)
        with self._target.reading() as connection:
            there, theirs = last_ids(connection), pauses.read(connection)
        for table, number in last.items():
            if there[table] < number:
                raise DifferenceError(f"{table} would give ids again, from {there[table] + 1} on")
        paused = pauses.pauses_of(theirs)
        for relay, pause in pauses.pauses_of(ours).items():
            if paused.get(relay) != pause:
                raise DifferenceError(f"the pause of relay {relay} is not that of the source")
        reach("after", "copy-compare")
        source, target = map(describe, self._urls)
        return Report(source, target, tables, last, len(ours))

    def _hand_over(self, fence: Fence) -> None:
        """Let go of the target, and first close the source for good: never may both send."""
        if fence.phase is not Phase.MOVED:
            with self._source.writing() as connection:
                moved = replace(fence, phase=Phase.MOVED, since=self._clock.now())
                put_up(connection, moved, patience=self._busy_timeout)
                reach("before", "copy-moved-commit")
            reach("after", "copy-moved-commit")
        with self._target.writing() as connection:
            arrival = standing(connection)
            if arrival is None or arrival.id != fence.id:
                raise CopyError("the fence of the target was taken away by somebody else")
            take_away(connection)
            reach("before", "copy-release-commit")
        reach("after", "copy-release-commit")
