"""One bad message never stops the queue: rows that somebody has changed by hand, or damaged."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import psycopg
import pytest

from mailqueue import events
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.plays import ANN, BOB
from tests.support.daemon import PassingClock, PlainOutbox, leading_to, running

OTHERS = 20
_OF_ANN = "(SELECT message_id FROM mailqueue_recipients WHERE address = 'ann@example.net')"


@dataclass(frozen=True)
class Damage:
    """What was done to the message for ANN, and a word of what is recorded about it."""

    name: str
    sql: str
    word: str
    value: object = None


DAMAGES = [
    Damage(
        "its content is gone",
        f"DELETE FROM mailqueue_contents WHERE message_id = {_OF_ANN}",
        "content",
    ),
    Damage(
        "its content is empty",
        # A string without octets, in the words of either database.
        f"UPDATE mailqueue_contents SET raw = substr(raw, 1, 0) WHERE message_id = {_OF_ANN}",
        "content",
    ),
    Damage(
        "its content smuggles a dot behind a bare LF",
        f"UPDATE mailqueue_contents SET raw = ? WHERE message_id = {_OF_ANN}",
        "bare CR or LF",
        b"Subject: x\r\n\r\nhi\n.\nMAIL FROM:<evil@example.org>\r\n",
    ),
    Damage(
        "its recipient brings a command",
        "UPDATE mailqueue_recipients SET address = ? WHERE address = 'ann@example.net'",
        "stored address",
        "ann@example.net>\r\nRCPT TO:<evil@example.net",
    ),
    Damage(
        "its recipient brings a parameter",
        "UPDATE mailqueue_recipients SET address = ? WHERE address = 'ann@example.net'",
        "stored address",
        "ann@example.net> NOTIFY=NEVER",
    ),
    Damage(
        "its recipient has no name at all",
        "UPDATE mailqueue_recipients SET address = '' WHERE address = 'ann@example.net'",
        "stored address",
    ),
    Damage(
        "its sender brings a command",
        f"UPDATE mailqueue_messages SET sender = ? WHERE id = {_OF_ANN}",
        "stored address",
        "s@example.org>\r\nRSET",
    ),
    Damage(
        "its recipient is not UTF-8",
        "UPDATE mailqueue_recipients SET address = CAST(? AS TEXT)"
        " WHERE address = 'ann@example.net'",
        "stored address",
        b"ann\xff@example.net",
    ),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
async def test_a_damaged_message_waits_with_a_reason_while_all_others_go(
    damage: Damage, outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """It is recorded as a fault of ours, uncharged, and nothing of it reaches the relay."""
    outbox.put(ANN)
    values = () if damage.value is None else (damage.value,)
    outbox.execute(damage.sql, *values)
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(OTHERS)])
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=OTHERS, deferred=1)
        assert outbox.relay()["breaker"] == "closed"
    (attempt,) = outbox.query("SELECT * FROM mailqueue_attempts WHERE verdict != 'sent'")
    assert (attempt["rule"], attempt["scope"], attempt["charged"]) == ("local-fault", "local", 0)
    assert damage.word in attempt["text"]
    assert len(relay.ledger.offered) == OTHERS
    assert not [line for one in relay.ledger.sessions for line in one.commands if "evil" in line]


async def test_good_recipients_of_a_message_go_though_one_of_them_is_damaged(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """The fault is that recipient's: the others of the same message are sent."""
    outbox.put(ANN, BOB)
    outbox.execute(
        "UPDATE mailqueue_recipients SET address = ? WHERE address = ?", "ann@x>\r\nDATA", ANN
    )
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=1, deferred=1)
    assert relay.ledger.accepted[0].recipients == (BOB,)


async def test_recipients_without_a_message_keep_nobody_else_from_being_sent(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """A shell without foreign keys can delete messages alone; what it leaves blocks nothing."""
    orphans = outbox.put_all([outbox.draft(f"o{number}@example.net") for number in range(50)])
    outbox.execute("DELETE FROM mailqueue_messages WHERE id <= ?", max(orphans))
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(OTHERS)])
    async with running(outbox, {"main": leading_to(relay, connections=1)}) as daemon:
        await daemon.until(lambda: outbox.states()["sent"] == OTHERS)
    assert len(relay.ledger) == OTHERS


async def test_a_probe_is_not_spent_on_a_message_that_cannot_be_sent(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay
) -> None:
    """A fault of ours tells nothing of the relay: another message probes, and at once."""
    script.on("CONNECT").times(1).reply("421 busy")
    outbox.put(BOB)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=1)
        # The damaged one has been due for longer, so it is the first to probe.
        outbox.put(ANN, now=clock.now() - 60_000_000)
        outbox.execute(f"DELETE FROM mailqueue_contents WHERE message_id = {_OF_ANN}")
        await daemon.let_pass(30)
        await daemon.until_states(sent=1, deferred=1)
        assert daemon.told(events.RelayResumed)


async def test_a_lease_without_a_worker_is_settled_like_any_other(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """A row that was made to look leased is in doubt when its time is up, and goes on."""
    outbox.put(ANN)
    outbox.execute("UPDATE mailqueue_recipients SET state = 'sending', worker = NULL, due_at = 1")
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(deferred=1)
        await daemon.until_told(events.LeaseReaped)
    assert outbox.attempt(ANN)["verdict"] == "in-doubt"


@pytest.mark.parametrize(
    "assignment",
    ["on_doubt = 'perhaps'", "size = 'large'", "on_doubt = NULL"],
)
def test_the_tables_refuse_what_no_daemon_could_read(outbox: PlainOutbox, assignment: str) -> None:
    """Types and known values are checked by the database, whoever writes."""
    outbox.put(ANN)
    with pytest.raises((sqlite3.IntegrityError, psycopg.DataError, psycopg.IntegrityError)):
        outbox.execute(f"UPDATE mailqueue_messages SET {assignment}")


@pytest.mark.parametrize("state", ["sending ", "delivered", ""])
def test_the_tables_refuse_a_state_that_is_none(outbox: PlainOutbox, state: str) -> None:
    """A recipient is in one of the known states, whoever writes."""
    outbox.put(ANN)
    with pytest.raises((sqlite3.IntegrityError, psycopg.DataError, psycopg.IntegrityError)):
        outbox.execute("UPDATE mailqueue_recipients SET state = ?", state)
