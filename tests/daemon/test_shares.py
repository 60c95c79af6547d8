"""The part that takes our share of each relay's limits, and hands over what others need."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailqueue.daemon.database import Database
from mailqueue.daemon.holding import Tenure
from mailqueue.daemon.shares import STARTING_SECONDS, Shares
from mailqueue.outbox.locks import WorkerLock
from mailqueue.outbox.relays import RelayRow, save
from mailqueue.outbox.shares import Share, leave, settle
from mailqueue.smtp import Session
from tests.daemon.parts import Told, commits, config_for, locked, rows
from tests.daemon.wiring import Wired
from tests.support.rows import NOW, add_message

TENURE = Tenure(lasts=10.0, renewed=2.0)
LIMIT = 2
"""What `wired` has configured."""


def part_of(wired: Wired, told: Told, path: Path, *, siblings: int = 0) -> Shares:
    """Make the part of worker a."""
    return Shares(
        wired.dispatcher,
        wired.database,
        "a",
        tenure=TENURE,
        path=path,
        clock=wired.clock,
        emit=told.append,
        siblings=siblings,
    )


@pytest.fixture
async def shares(wired: Wired, told: Told, path: Path) -> AsyncIterator[Shares]:
    """The part of worker a, not started; its pool is as empty as at the start of a daemon."""
    wired.route.pool.resize(0)
    shares = part_of(wired, told, path)
    yield shares
    await shares.stop()


async def another(
    wired: Wired, *, wanted: int = LIMIT, keeps: int = 0, connections: int = LIMIT
) -> int:
    """Let worker b settle its share; returns what it has."""
    asked = Share("main", "b", connections, wanted, keeps)
    share = await wired.database.write(
        lambda connection: settle(connection, asked, seconds=10, dead=(), clock=wired.clock)
    )
    return share.granted


def granted(path: Path) -> dict[str, int]:
    """Return what each worker has."""
    return dict(rows(path, "SELECT worker, granted FROM mailqueue_shares"))


async def due_mail(database: Database) -> None:
    """Let mail wait that everybody could send."""
    await database.write(lambda connection: add_message(connection, recipient={"due_at": NOW}))


async def test_alone_it_has_all_at_once_and_writes_nothing_more(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """It costs a look now and then, and a commit when it is time to renew."""
    await shares.look()
    assert wired.route.pool.limit == LIMIT
    with commits(wired.database) as seen:
        await due_mail(wired.database)
        for _ in range(5):
            await shares.look()
        assert len(seen) == 1, "the mail"
        wired.clock.advance(TENURE.renewed)
        await shares.look()
        assert len(seen) == 2
    assert granted(path) == {"a": LIMIT}


async def test_it_gives_up_for_another_what_that_one_should_have(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """At once what is not connected, and only then the other has it."""
    await shares.look()
    await due_mail(wired.database)
    assert await another(wired) == 0
    for _ in range(2):
        await shares.look()
    assert wired.route.pool.limit == 1
    assert granted(path) == {"a": 1, "b": 0}
    assert await another(wired) == 1


async def test_processes_that_begin_together_leave_each_other_their_part(
    wired: Wired, told: Told, path: Path
) -> None:
    """The first would take all, and a second would pass until the others have theirs. If one does
    not come, its part is not kept for long.
    """
    await due_mail(wired.database)
    wired.route.pool.resize(0)
    first = part_of(wired, told, path, siblings=1)
    await first.look()
    assert granted(path) == {"a": LIMIT // 2}
    assert await another(wired) == LIMIT - LIMIT // 2
    await wired.database.write(lambda connection: leave(connection, "b"))
    await first.look()
    assert granted(path) == {"a": LIMIT // 2}
    wired.clock.advance(STARTING_SECONDS)
    await first.look()
    assert granted(path) == {"a": LIMIT}


async def test_answers_that_wait_for_their_commit_are_no_lack_of_mail(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """Whoever has claimed as much as it may gives nothing up while it writes what came of it."""
    await due_mail(wired.database)
    await shares.look()
    wired.dispatcher.pace = replace(wired.dispatcher.pace, deliveries=0)
    wired.route.in_flight = wired.route.settling = LIMIT
    for _ in range(2):
        await another(wired)
        await shares.look()
    assert granted(path)["a"] == LIMIT - LIMIT // 2


async def test_what_is_connected_is_kept_until_it_is_closed(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """A session in use is finished; its connection is ours for as long as it stands."""
    await shares.look()
    pool = wired.route.pool
    sessions = [await pool.borrow() for _ in range(LIMIT)]
    await another(wired)
    await due_mail(wired.database)
    for _ in range(2):
        await shares.look()
    assert (pool.limit, granted(path)["a"]) == (1, LIMIT)
    for session in sessions:
        assert isinstance(session, Session)
        pool.give_back(session)
    await pool.trim()
    await shares.look()
    assert (pool.limit, pool.connected, granted(path)["a"]) == (1, 1, 1)


async def test_it_takes_what_another_leaves(shares: Shares, wired: Wired) -> None:
    """And wakes the dispatcher, which may send more now."""
    await another(wired)
    await shares.look()
    assert wired.route.pool.limit == 0
    await wired.database.write(lambda connection: leave(connection, "b"))
    assert not await wired.dispatcher.wake.wait(0)
    await shares.look()
    assert wired.route.pool.limit == LIMIT
    assert await wired.dispatcher.wake.wait(0)


async def test_a_worker_whose_lock_is_free_has_nothing_any_more(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """That it is dead is proven, and nobody waits for the end of its time."""
    lock = WorkerLock(path, "b")
    lock.acquire()
    await another(wired)
    await shares.look()
    assert wired.route.pool.limit == 0
    descriptor = lock._descriptor
    assert descriptor is not None
    os.close(descriptor)
    lock._descriptor = None
    await shares.look()
    assert wired.route.pool.limit == LIMIT


async def test_whoever_slept_past_the_end_begins_with_nothing(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """Others have it by then; it gets again what is due to it and free."""
    await shares.look()
    wired.clock.advance(TENURE.lasts)
    assert await another(wired) == LIMIT
    assert not wired.route.has_share(wired.clock)
    assert wired.route.pool.limit == 0
    await due_mail(wired.database)
    await shares.look()
    assert granted(path) == {"a": 0, "b": LIMIT}
    assert await another(wired, keeps=1) == 1
    await shares.look()
    assert granted(path) == {"a": 1, "b": 1}


async def test_a_smaller_limit_elsewhere_holds_here(shares: Shares, wired: Wired) -> None:
    """As soon as it is read, and for as long as whoever has it is there."""
    await shares.look()
    await another(wired, connections=1, wanted=0)
    await shares.look()
    assert wired.route.pool.limit == 1


async def test_while_nothing_can_be_written_what_it_has_lasts_for_its_time(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """And no longer: others may have taken it."""
    await shares.look()
    with locked(path):
        wired.clock.advance(TENURE.renewed)
        await shares.look()
        assert wired.route.has_share(wired.clock)
        wired.clock.advance(TENURE.lasts)
        await shares.look()
        assert not wired.route.has_share(wired.clock)
    await shares.look()
    assert wired.route.pool.limit == LIMIT


async def test_a_relay_that_is_configured_no_more_is_given_back_when_it_is_closed(
    shares: Shares, wired: Wired, path: Path
) -> None:
    """And what a reload has replaced counts until then."""
    await shares.look()
    old = wired.route.pool
    session = await old.borrow()
    assert isinstance(session, Session)
    other = {"host": "127.0.0.1", "port": 1, "tls": "none", "connections": LIMIT}
    wired.routing.configure(config_for({"other": other}))
    await old.close()
    await shares.look()
    assert dict(rows(path, "SELECT relay, granted FROM mailqueue_shares")) == {
        "main": LIMIT,
        "other": LIMIT,
    }
    old.give_back(session)
    await old.trim()
    await shares.look()
    assert rows(path, "SELECT relay FROM mailqueue_shares") == [("other",)]


async def test_others_findings_of_a_relay_are_obeyed_while_others_are_there(
    shares: Shares, wired: Wired
) -> None:
    """The breaker follows the row; alone, it is what we have found ourselves."""
    row = RelayRow("main", "open", NOW, probe_at=NOW + 30_000_000, troubles=1, last_trouble_at=NOW)
    await another(wired)
    await shares.look()
    await wired.database.write(lambda connection: save(connection, row))
    await shares.look()
    assert wired.route.breaker.is_open
    assert wired.route.breaker.is_shared
    await wired.database.write(lambda connection: leave(connection, "b"))
    await shares.look()
    assert not wired.route.breaker.is_shared


async def test_at_the_end_all_is_given_back(shares: Shares, path: Path) -> None:
    """Nobody has to wait for the end of its time."""
    await shares.look()
    assert await shares.leave()
    assert granted(path) == {}


@pytest.mark.parametrize(
    ("has_locks", "tenure"),
    [(True, Tenure(120.0, 20.0)), (False, Tenure(10.0, 2.5))],
)
def test_how_long_a_share_lasts(has_locks: bool, tenure: Tenure) -> None:
    """As long as mail where a lock proves a death, and short where only silence tells."""
    assert Tenure.of(120.0, 20.0, has_locks=has_locks) == tenure
    assert tenure.trusted < tenure.lasts
