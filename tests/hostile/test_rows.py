"""Text in the database that is no text: one such row keeps no other from being sent."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mailqueue import AsyncOutbox, Outbox, events
from mailqueue.testing import ScriptedRelay
from tests.support.daemon import OutboxFile, leading_to, running

BAD, GOOD = "bad@example.net", "good@example.net"
NO_TEXT = "CAST(x'61ff62' AS TEXT)"
"""SQLite keeps what it is told is text, whether or not it is UTF-8."""
OF_BAD = "(SELECT message_id FROM mailqueue_recipients WHERE address = 'bad@example.net')"


def _tamper(outbox: OutboxFile, table: str, column: str, condition: str) -> None:
    outbox.execute(f"UPDATE {table} SET {column} = {NO_TEXT} WHERE {condition}")


@pytest.mark.parametrize(
    ("table", "column", "condition"),
    [
        ("mailqueue_messages", "sender", f"id = {OF_BAD}"),
        ("mailqueue_messages", "header_message_id", f"id = {OF_BAD}"),
        ("mailqueue_messages", "relay", f"id = {OF_BAD}"),
        ("mailqueue_messages", "tags", f"id = {OF_BAD}"),
        ("mailqueue_recipients", "relay", f"address = '{BAD}'"),
        ("mailqueue_recipients", "last_text", f"address = '{BAD}'"),
        ("mailqueue_recipients", "address", f"address = '{BAD}'"),
    ],
)
async def test_a_column_that_is_not_utf8_keeps_no_other_mail(
    table: str, column: str, condition: str, outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """Anybody with a shell can write such a row; every other one is read and sent as before."""
    outbox.put(BAD)
    _tamper(outbox, table, column, condition)
    outbox.put(GOOD)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until(lambda: _sent(outbox, GOOD))
        await daemon.parts.janitor.settle()
        assert not daemon.told(events.DatabaseTrouble)


def _sent(outbox: OutboxFile, address: str) -> bool:
    found = outbox.query(
        "SELECT 1 FROM mailqueue_recipients WHERE address = ? AND state = 'sent'", address
    )
    return bool(found)


async def test_an_address_that_cannot_be_read_is_not_sent_to(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """What stands for the unreadable octets is no part of an address: it waits as a fault."""
    outbox.put(BAD)
    outbox.execute(
        "UPDATE mailqueue_recipients SET address = CAST(x'ff406578616d706c652e6e6574' AS TEXT)"
    )
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(deferred=1)
    (attempt,) = outbox.query("SELECT rule, text FROM mailqueue_attempts")
    assert attempt["rule"] == "local-fault"
    assert "U+FFFD" in attempt["text"]
    assert relay.ledger.seen["RCPT"] == 0


async def test_a_dead_lease_with_unreadable_text_is_settled(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """The janitor gets past it, and settles what is behind it too."""
    outbox.put(BAD)
    outbox.put(GOOD)
    outbox.execute(
        f"UPDATE mailqueue_recipients SET state = 'sending', due_at = 1, worker = {NO_TEXT}"
    )
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_told(events.LeaseReaped, 2)
        await daemon.until_states(deferred=2)


async def test_relay_names_that_are_not_utf8_do_not_hide_those_behind_them(
    outbox: OutboxFile, relay: ScriptedRelay
) -> None:
    """Mail past its time expires whatever relay names other rows carry."""
    outbox.put(BAD)
    _tamper(outbox, "mailqueue_recipients", "relay", f"address = '{BAD}'")
    outbox.put(GOOD, relay="zebra")
    outbox.execute("UPDATE mailqueue_recipients SET lifetime_from = 1 WHERE address = ?", GOOD)
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until(lambda: outbox.state(GOOD) == "expired")


async def test_producers_can_ask_for_it_all_the_same(outbox: OutboxFile) -> None:
    """`status` shows a mark where octets could not be read, to both kinds of producers."""
    number = outbox.put(BAD)
    _tamper(outbox, "mailqueue_recipients", "address", f"address = '{BAD}'")
    with Outbox(outbox.url) as producer:
        assert producer.status(number).recipients[0].address == "a\ufffdb"
    async with AsyncOutbox(outbox.url) as producer:
        assert (await producer.status(number)).recipients[0].address == "a\ufffdb"


def test_sqlite_itself_would_not_read_it(outbox: OutboxFile) -> None:
    """The premise of this file: without care the driver raises for the whole statement."""
    outbox.put(BAD)
    _tamper(outbox, "mailqueue_recipients", "address", f"address = '{BAD}'")
    with (
        closing(sqlite3.connect(outbox.path)) as shell,
        pytest.raises(sqlite3.OperationalError, match="UTF-8"),
    ):
        shell.execute("SELECT address FROM mailqueue_recipients").fetchall()
