"""Many results in one transaction, none lost, and nobody told too early."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mailqueue.clock import FakeClock
from mailqueue.daemon import recorder as recorder_module
from mailqueue.daemon.database import Database
from mailqueue.daemon.recorder import RISK_SECONDS, Recorder
from mailqueue.events import DatabaseRecovered, DatabaseTrouble
from mailqueue.mail.reply import Evidence, Reply
from mailqueue.mail.stage import Stage
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.record import Result
from tests.daemon.parts import PATIENCE, Told, all_of, commits, locked, states, turns, until
from tests.support.leases import ACCEPTED, result_of, take
from tests.support.rows import add_message


async def leased(database: Database, count: int) -> list[Lease]:
    """Store so many messages with one recipient each, and lease them."""

    def write(connection: Connection) -> list[Lease]:
        for _ in range(count):
            add_message(connection)
        return [message.leases[0] for message in take(connection)]

    return await database.write(write)


def unwritable(lease: Lease) -> Result:
    """Return a result that cannot be recorded: its text is no valid Unicode."""
    return result_of(lease, Evidence(Stage.RCPT, Reply(450, "\ud800"), "RCPT"))


def sabotage(_: Connection) -> None:
    """Stand for a write with a bug."""
    raise ZeroDivisionError


async def test_results_of_many_deliveries_go_in_one_transaction(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """A commit costs a sync to disk, which they share."""
    leases = await leased(database, 5)
    with commits(database) as committed:
        writing = [recorder.record([result_of(lease, ACCEPTED)]) for lease in leases]
        assert await asyncio.gather(*writing) == [[]] * 5
    assert len(committed) == 1
    assert states(path) == ["sent"] * 5


async def test_what_comes_during_a_commit_goes_into_the_next(
    recorder: Recorder, database: Database
) -> None:
    """However many come meanwhile: one transaction more, and not one each."""
    leases = await leased(database, 8)
    entered, leave = threading.Event(), threading.Event()

    def slowly(_: Connection) -> None:
        entered.set()
        leave.wait(PATIENCE)

    with commits(database) as committed:
        first = asyncio.create_task(recorder.write(slowly))
        await until(entered.is_set)
        others = [
            asyncio.create_task(recorder.record([result_of(lease, ACCEPTED)])) for lease in leases
        ]
        await turns()
        leave.set()
        await first
        await all_of(others)
    assert len(committed) == 2


async def test_what_results_free_can_be_claimed_in_the_same_transaction(
    recorder: Recorder, database: Database
) -> None:
    """Results come before whatever else is in their transaction, in whichever order they came."""
    (lease,) = await leased(database, 1)
    counting = text("SELECT count(*) FROM mailqueue_recipients WHERE state = 'sent'")
    with commits(database) as committed:
        sent, _ = await asyncio.gather(
            recorder.write(lambda connection: connection.scalar(counting)),
            recorder.record([result_of(lease, ACCEPTED)]),
        )
    assert sent == 1
    assert len(committed) == 1


async def test_nobody_is_told_before_the_commit(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """When `record` returns, another process sees the result."""
    (lease,) = await leased(database, 1)
    await recorder.record([result_of(lease, ACCEPTED)])
    assert states(path) == ["sent"]


async def test_each_delivery_hears_of_its_own_refused_results(
    recorder: Recorder, database: Database
) -> None:
    """Who lost the lease is told so, and nobody else is."""
    one, two = await leased(database, 2)
    late = result_of(two, ACCEPTED, worker="w9")
    refused = await asyncio.gather(
        recorder.record([result_of(one, ACCEPTED)]), recorder.record([late])
    )
    assert list(refused) == [[], [late]]


async def test_a_write_that_raises_costs_the_others_nothing(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """Its own asker gets the error; results and writes beside it are kept."""
    one, two = await leased(database, 2)
    outcomes = await asyncio.gather(
        recorder.record([result_of(one, ACCEPTED)]),
        recorder.write(sabotage),
        recorder.write(add_message),
        recorder.record([result_of(two, ACCEPTED)]),
        return_exceptions=True,
    )
    assert outcomes[0] == outcomes[3] == []
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert outcomes[2] == 3
    assert states(path) == ["sent", "sent", "queued"]
    assert recorder.is_idle


async def test_a_result_that_cannot_be_written_costs_the_others_nothing(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """One bad row never stops the queue, and the recorder goes on."""
    one, two = await leased(database, 2)
    outcomes = await asyncio.gather(
        recorder.record([unwritable(one)]),
        recorder.record([result_of(two, ACCEPTED)]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], UnicodeEncodeError)
    assert outcomes[1] == []
    assert states(path) == ["sending", "sent"]
    assert await recorder.write(lambda connection: connection.scalar(text("SELECT 7"))) == 7


async def test_a_write_that_raises_leaves_nothing_of_itself(recorder: Recorder, path: Path) -> None:
    """Half a write is no write."""

    def half(connection: Connection) -> None:
        add_message(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await recorder.write(half)
    assert states(path) == []


async def test_while_the_database_refuses_results_wait_and_nobody_is_told(
    recorder: Recorder, database: Database, path: Path, told: Told, clock: FakeClock
) -> None:
    """They are kept and tried again; claims wait with them; then all of it is written."""
    one, two = await leased(database, 2)
    with locked(path):
        writing = asyncio.create_task(recorder.record([result_of(one, ACCEPTED)]))
        await until(lambda: told.of(DatabaseTrouble))
        claiming = asyncio.create_task(recorder.write(take))
        later = asyncio.create_task(recorder.record([result_of(two, ACCEPTED)]))
        await until(lambda: len(recorder._results) == 1)
        await turns()
        assert recorder.is_troubled
        assert not any(one.done() for one in (writing, claiming, later))
        assert states(path) == ["sending", "sending"]
        clock.advance(90)
    assert await asyncio.wait_for(writing, PATIENCE) == []
    assert await asyncio.wait_for(later, PATIENCE) == []
    assert await asyncio.wait_for(claiming, PATIENCE) == []
    assert states(path) == ["sent", "sent"]
    assert not recorder.is_troubled
    assert len(told.of(DatabaseTrouble)) == 1
    assert told.of(DatabaseRecovered) == [DatabaseRecovered(90.0)]


async def test_a_refusal_counts_as_an_answer(
    recorder: Recorder, path: Path, told: Told, clock: FakeClock
) -> None:
    """A database that says no is not stuck."""
    clock.advance(50)
    with locked(path):
        writing = asyncio.create_task(recorder.write(take))
        await until(lambda: told.of(DatabaseTrouble))
        assert recorder.last_answer == 50
    await asyncio.wait_for(writing, PATIENCE)


async def test_whoever_stops_waiting_costs_the_others_nothing(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """A cancelled asker's write may happen; those beside it do happen."""
    one, two = await leased(database, 2)
    leaving = asyncio.create_task(recorder.record([result_of(one, ACCEPTED)]))
    staying = asyncio.create_task(recorder.record([result_of(two, ACCEPTED)]))
    await turns(1)
    leaving.cancel()
    assert await asyncio.wait_for(staying, PATIENCE) == []
    assert states(path)[1] == "sent"


async def test_stop_writes_everything_first(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """What was handed in before the end is in the database after it."""
    leases = await leased(database, 3)
    writing = [
        asyncio.create_task(recorder.record([result_of(lease, ACCEPTED)])) for lease in leases
    ]
    await turns(1)
    await asyncio.wait_for(recorder.stop(), PATIENCE)
    assert states(path) == ["sent"] * 3
    assert await all_of(writing) == [[]] * 3


async def test_stop_waits_for_a_database_that_refuses(
    recorder: Recorder, database: Database, path: Path, told: Told
) -> None:
    """A result is not given up because the daemon ends; that is for whoever aborts."""
    (lease,) = await leased(database, 1)
    with locked(path):
        writing = asyncio.create_task(recorder.record([result_of(lease, ACCEPTED)]))
        await until(lambda: told.of(DatabaseTrouble))
        stopping = asyncio.create_task(recorder.stop())
        await turns()
        assert not stopping.done()
    await asyncio.wait_for(stopping, PATIENCE)
    assert await writing == []
    assert states(path) == ["sent"]


async def test_a_busy_database_is_not_asked_more_often_because_more_is_handed_in(
    database: Database, clock: FakeClock, told: Told
) -> None:
    """The pause between two tries lasts, unless the daemon stops."""
    recorder = Recorder(database.write, clock, told.append)
    pausing = asyncio.create_task(recorder._pause(PATIENCE))
    await turns()
    for _ in range(3):
        recorder.wake.ring()
        await turns()
    assert not pausing.done()
    recorder.stopping = True
    recorder.wake.ring()
    await asyncio.wait_for(pausing, PATIENCE / 2)


async def test_abort_lets_everybody_go_who_waits(
    recorder: Recorder, database: Database, path: Path, told: Told
) -> None:
    """Those whose transaction was being tried and those who came later: nothing is known."""
    one, two = await leased(database, 2)
    with locked(path):
        tried = asyncio.create_task(recorder.record([result_of(one, ACCEPTED)]))
        asked = asyncio.create_task(recorder.write(take))
        await until(lambda: told.of(DatabaseTrouble))
        later = asyncio.create_task(recorder.record([result_of(two, ACCEPTED)]))
        await turns()
        await recorder.abort()
        done, waiting = await asyncio.wait([tried, asked, later], timeout=PATIENCE)
    assert not waiting
    assert all(one.cancelled() for one in done)


async def test_a_result_waits_a_moment_for_company_and_a_claim_waits_for_none(
    recorder: Recorder, database: Database
) -> None:
    """Results that come one after the other share a commit; with a claim they go at once."""
    leases = await leased(database, 4)
    with commits(database) as committed:
        first = asyncio.create_task(recorder.record([result_of(leases[0], ACCEPTED)]))
        await turns()
        others = [
            asyncio.create_task(recorder.record([result_of(lease, ACCEPTED)]))
            for lease in leases[1:]
        ]
        await turns()
        assert committed == []
        await recorder.write(lambda _: None)
        assert len(committed) == 1
        await all_of([first, *others])
    assert len(committed) == 1


async def test_right_after_a_commit_a_claim_waits_for_company(
    recorder: Recorder, database: Database, path: Path
) -> None:
    """Where mail comes all the time, one commit after another would take the disk from all."""
    (lease,) = await leased(database, 1)
    with commits(database) as committed:
        await recorder.write(lambda _: None)
        claim = asyncio.create_task(recorder.write(lambda _: None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await recorder.record([result_of(lease, ACCEPTED)]) == []
        await claim
    assert len(committed) == 2
    assert states(path) == ["sent"]


async def test_company_enough_waits_for_nobody(
    recorder: Recorder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue is not slowed down by it."""
    monkeypatch.setattr(recorder_module, "SPACING_SECONDS", 3600.0)
    monkeypatch.setattr(recorder_module, "GATHERED", 3)
    leases = await leased(database, 3)
    await recorder.write(lambda _: None)
    writing = [recorder.record([result_of(lease, ACCEPTED)]) for lease in leases]
    assert await asyncio.wait_for(asyncio.gather(*writing), PATIENCE) == [[]] * 3


async def test_it_is_behind_while_a_result_is_kept_waiting(
    recorder: Recorder, database: Database, path: Path, clock: FakeClock
) -> None:
    """Who would take on more risk waits until what is known has been written."""
    leases = await leased(database, 1)
    with locked(path):
        writing = asyncio.create_task(recorder.record([result_of(leases[0], ACCEPTED)]))
        await turns()
        assert not recorder.is_behind
        clock.advance(RISK_SECONDS + 0.01)
        assert recorder.is_behind
        waiting = asyncio.create_task(recorder.caught_up())
        await turns()
        assert not waiting.done()
    await all_of([writing, waiting])
    assert not recorder.is_behind


async def test_with_nothing_to_write_it_is_never_behind(
    recorder: Recorder, clock: FakeClock
) -> None:
    """A quiet night is no reason to wait."""
    clock.advance(1e6)
    await recorder.caught_up()


async def test_each_hears_once_however_the_recorder_ends(
    recorder: Recorder, database: Database, path: Path, told: Told
) -> None:
    """Whoever counts what is unwritten would count it twice: those who have been told already, and
    those who are let go by an end that is asked for twice.
    """
    one, two, three = await leased(database, 3)
    heard: list[str] = []
    recorder.hand_in([result_of(one, ACCEPTED)], lambda _: heard.append("written"))
    recorder.hand_in([unwritable(two)], lambda _: heard.append("raised"))
    let_go = asyncio.Event()

    def wait_here(connection: Connection) -> None:
        # The transaction of all fails, and then each has one of its own.
        if states(path)[0] == "sent":
            asyncio.run_coroutine_threadsafe(_set(let_go), loop)
            gate.wait(PATIENCE)

    loop, gate = asyncio.get_running_loop(), threading.Event()
    asking = asyncio.create_task(recorder.write(wait_here))
    async with asyncio.timeout(PATIENCE):
        await let_go.wait()
    recorder.hand_in([result_of(three, ACCEPTED)], lambda _: heard.append("let go"))
    assert heard == ["written", "raised"]
    aborting = asyncio.create_task(recorder.abort())
    await turns()
    gate.set()
    await aborting
    await recorder.abort()
    assert heard == ["written", "raised", "let go"]
    await asyncio.wait([asking], timeout=PATIENCE)
    assert asking.cancelled()


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_result_that_came_during_a_slow_commit_is_as_old_as_it_is(
    recorder: Recorder, database: Database, clock: FakeClock
) -> None:
    """The commit that was under way when it came has not written it: it is behind still."""
    one, two = await leased(database, 2)
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(_: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait(PATIENCE)

    first = asyncio.create_task(recorder.record([result_of(one, ACCEPTED)]))
    asking = asyncio.create_task(recorder.write(slow))
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    behind: list[bool] = []
    asking.add_done_callback(lambda _: behind.append(recorder.is_behind))
    second = asyncio.create_task(recorder.record([result_of(two, ACCEPTED)]))
    await turns()
    clock.advance(RISK_SECONDS + 0.01)
    gate.set()
    await all_of([first, second])
    await asking
    assert behind == [True]
    assert not recorder.is_behind
