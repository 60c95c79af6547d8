"""Others at the same database: one who writes for very long, one who reads for very long."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailqueue import Outbox, OutboxBusyError, events
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.invariants import assert_sound
from tests.support.daemon import OutboxFile, PassingClock, leading_to, running

ANN, BOB = "ann@example.net", "bob@example.net"
IMPATIENT = {"busy_timeout": 0.1}
"""A minute of somebody else's lock is many of these."""


@contextlib.contextmanager
def _somebody(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Keep open what somebody with a shell has begun."""
    shell = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements:
            shell.execute(statement).fetchall()
        yield shell
    finally:
        shell.close()


def _message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "sender@example.org", BOB
    message.set_content("hello")
    return message


async def test_a_writer_that_holds_the_lock_costs_time_and_nothing_else(
    outbox: OutboxFile, script: Script, relay: ScriptedRelay
) -> None:
    """Through many busy timeouts a reply is kept and a producer is told to try again."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN)
    async with running(
        outbox, {"main": leading_to(relay)}, database={"url": outbox.url} | IMPATIENT
    ) as daemon:
        await relay.until(lambda: relay.ledger.seen["."] == 1)
        with _somebody(outbox.path, "BEGIN IMMEDIATE"):
            go_on.set()
            with (
                Outbox(outbox.url, busy_timeout=0.05) as producer,
                pytest.raises(OutboxBusyError, match="trying again is safe"),
            ):
                producer.enqueue(_message())
            (trouble, *_) = await daemon.until_told(events.DatabaseTrouble)
            assert "was being written by someone else" in trouble.error
            first = daemon.parts.recorder.last_answer
            # It has asked again, and again in vain.
            await daemon.until(lambda: daemon.parts.recorder.last_answer > first)
            assert outbox.states() == {"sending": 1}
        await daemon.until_states(sent=1)
        assert await daemon.until_told(events.DatabaseRecovered)
        outbox.put(BOB)
        await daemon.until_states(sent=2)
    assert [row["verdict"] for row in outbox.attempts(ANN)] == ["sent"]
    assert not relay.ledger.duplicates
    assert_sound(outbox)


async def test_a_lease_that_could_not_be_renewed_lets_no_dot_be_written(
    outbox: OutboxFile, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """The lock outlasts the lease: another daemon might have taken over, so the dot stays here."""
    go_on = asyncio.Event()
    script.on("DATA").times(1).wait_for(go_on)
    outbox.put(ANN)
    async with running(
        outbox,
        {"main": leading_to(relay)},
        clock=clock,
        database={"url": outbox.url} | IMPATIENT,
    ) as daemon:
        await relay.until(lambda: relay.ledger.seen["DATA"] == 1)
        with _somebody(outbox.path, "BEGIN IMMEDIATE"):
            await daemon.let_pass(3600)
            go_on.set()
            await relay.until(lambda: not relay.sessions)
            assert relay.ledger.seen["."] == 0
        await daemon.until_states(sent=1)
    assert [row["verdict"] for row in outbox.attempts(ANN)] == ["sent"]
    assert len(relay.ledger) == 1
    assert outbox.recipient(ANN)["doubts"] == 0


async def test_a_reader_that_stays_for_an_hour_stops_nobody(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """It keeps the log from being emptied, and only that; when it has gone the log is emptied."""
    outbox.put(ANN)
    log = outbox.path.with_name(f"{outbox.path.name}-wal")
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=1)
        with _somebody(outbox.path, "BEGIN", "SELECT count(*) FROM mailqueue_recipients") as reader:
            outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(50)])
            await daemon.until_states(sent=51)
            held_up = await daemon.parts.database.checkpoint()
            assert held_up.busy
            assert log.stat().st_size > 0
            # It still sees what it began with.
            seen = reader.execute("SELECT count(*) FROM mailqueue_recipients").fetchone()
            assert seen == (1,)
        emptied = await daemon.parts.database.checkpoint()
        assert not emptied.busy
        assert log.stat().st_size == 0
        outbox.put(BOB)
        await daemon.until_states(sent=52)
    assert_sound(outbox)
