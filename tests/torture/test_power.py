"""Power that fails: whatever was acknowledged was synced, and whatever was synced is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from mailqueue import AsyncOutbox, Outbox, configure_sqlite
from mailqueue.cli.main import cli
from mailqueue.operate import Operator
from mailqueue.testing import ScriptedRelay
from tests.support.daemon import OutboxFile, leading_to, running
from tests.torture import power
from tests.torture.mails import SENDER, Mail
from tests.torture.sync import commits

MAIL = Mail(1)


@pytest.mark.slow
@pytest.mark.parametrize("past", [f"fixed-{number}" for number in range(10)])
def test_after_a_power_cut_everything_acknowledged_is_there(past: str) -> None:
    """The log may end, be zeros, garbage, or older octets behind the last sync: nothing is lost.

    The tables are as some commit left them, and none older than the last that had returned.
    """
    power.cut(past)


async def test_every_commit_of_producers_operators_and_daemon_is_synced(tmp_path: Path) -> None:
    """No door leads to a commit that returns before it is on the disk."""
    with commits() as made:
        outbox = OutboxFile(tmp_path / "outbox.db")
        await asyncio.to_thread(_enqueue_and_decide, outbox.url)
        async with AsyncOutbox(outbox.url) as asynchronous:
            await asynchronous.enqueue(MAIL.raw, sender=SENDER, recipients=MAIL.recipients)
        async with ScriptedRelay() as relay:
            await _send_and_prune(outbox, relay)
        outbox.close()
    assert len(made) > 10
    assert all(commit.is_durable for commit in made), made


def test_creating_and_upgrading_an_outbox_is_synced(tmp_path: Path) -> None:
    """The tables themselves must be there after a power cut, whoever makes them."""
    with commits() as made:
        url = f"sqlite:///{tmp_path / 'outbox.db'}"
        done = CliRunner().invoke(cli, ["db", "upgrade", "--database", url])
        assert done.exit_code == 0, done.output
    assert made
    assert all(commit.is_durable for commit in made), made


async def test_a_configured_engine_of_the_application_is_synced(tmp_path: Path) -> None:
    """What `configure_sqlite` was told about commits as durably as our own engines."""
    OutboxFile(tmp_path / "outbox.db").close()
    plain = create_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    asynchronous = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'outbox.db'}")
    configure_sqlite(plain)
    configure_sqlite(asynchronous)
    with commits() as made:
        with Outbox(plain) as outbox, plain.begin() as connection:
            outbox.enqueue(
                MAIL.raw, sender=SENDER, recipients=MAIL.recipients, connection=connection
            )
        async with AsyncOutbox(asynchronous) as twin:
            await twin.enqueue(MAIL.raw, sender=SENDER, recipients=MAIL.recipients)
    plain.dispose()
    await asynchronous.dispose()
    assert len(made) == 2
    assert all(commit.is_durable for commit in made), made


def _enqueue_and_decide(url: str) -> None:
    with Outbox(url) as outbox, Operator(url) as operator:
        for _ in range(3):
            receipt = outbox.enqueue(MAIL.raw, sender=SENDER, recipients=MAIL.recipients)
        operator.hold(receipt.id)
        operator.release(receipt.id)
        outbox.cancel(receipt.id)
        operator.retry(receipt.id)


async def _send_and_prune(outbox: OutboxFile, relay: ScriptedRelay) -> None:
    waiting = outbox.states()["queued"]
    async with running(outbox, {"main": leading_to(relay)}, retention={"contents": 0.0}) as daemon:
        await daemon.until_states(sent=waiting)
        await daemon.parts.janitor._clear()
        assert outbox.value("SELECT count(*) FROM mailqueue_contents") == 0
