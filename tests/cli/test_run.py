import asyncio
import json
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from mailqueue import Outbox
from mailqueue.cli.run import goes_to_journal
from mailqueue.outbox import schema
from mailqueue.testing import Script, ScriptedRelay
from tests.cli.daemon import PATIENCE, running

pytestmark = pytest.mark.slow


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    """A correct relay."""
    async with ScriptedRelay(Script()) as relay:
        yield relay


@pytest.fixture
def file(tmp_path: Path, url: str, relay: ScriptedRelay) -> Path:
    """A configuration with this relay and the outbox of the test."""
    file = tmp_path / "config.toml"
    _write(file, url, relay.port)
    return file


def _write(file: Path, url: str, port: int, more: str = "") -> None:
    file.write_text(
        f'[database]\nurl = "{url}"\nbusy_timeout = 0.2\n'
        f'[relays.main]\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n{more}'
    )


def _message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.org"
    message["To"] = "anna@example.net"
    message.set_content("hello\n")
    return message


async def test_it_sends_and_stops(file: Path, url: str, path: Path, relay: ScriptedRelay) -> None:
    """It makes its outbox, says when it is ready, sends what is enqueued, and ends with 0."""
    async with running("--config", file) as daemon:
        source = await daemon.until_logged("configuration from ")
        assert str(file) in source
        await daemon.until_told("READY=1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        receipt = await asyncio.to_thread(lambda: Outbox(url).enqueue(_message()))
        line = await daemon.until_logged("status=sent")
        assert f"{receipt.id}: to=<anna@example.net>, relay=main[" in line
        assert await daemon.stop() == 0
    assert relay.ledger.deliveries("anna@example.net", message_id=receipt.message_id) == 1
    assert daemon.log[-1].endswith("stopped")
    status = Outbox(url).status(receipt.id)
    assert [recipient.state for recipient in status.recipients] == ["sent"]


async def test_ctrl_c_ends_it_in_order(file: Path) -> None:
    """SIGINT at a terminal is as good as SIGTERM from a service manager."""
    async with running("--config", file) as daemon:
        await daemon.until_told("READY=1")
        assert await daemon.stop(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in daemon.log)


async def test_the_log_as_json(file: Path) -> None:
    """--log-format and --log-level go over the configuration."""
    async with running("--config", file, "--log-format", "json") as daemon:
        started = json.loads(await daemon.until_logged('"Started"'))
        assert started["level"] == "info"
        assert await daemon.stop() == 0
    for line in daemon.log:
        json.loads(line)
    async with running("--config", file, "--log-level", "error") as daemon:
        await daemon.until_told("READY=1")
        assert await daemon.stop() == 0
    assert daemon.log == []


async def test_a_reload_keeps_what_the_command_line_says(
    file: Path, url: str, path: Path, relay: ScriptedRelay
) -> None:
    """SIGHUP reads the file anew; --database and --log-level hold on, and a bad file is refused."""
    _write(file, "sqlite:////nowhere/else.db", relay.port)
    options = ("--config", file, "--database", url, "--log-level", "info")
    async with running(*options) as daemon:
        await daemon.until_told("READY=1")
        _write(file, "sqlite:////nowhere/else.db", relay.port, '[log]\nlevel = "error"\n')
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.until_logged("configuration reloaded")
        _write(file, url, relay.port, "nonsense = 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.until_logged("the new configuration is refused and the old one stays")
        assert await daemon.stop() == 0
    assert path.exists()


async def test_without_a_configuration_file(tmp_path: Path) -> None:
    """A developer needs none: the log says so, and what is used instead."""
    async with running("--database", f"sqlite:///{tmp_path}/outbox.db") as daemon:
        line = await daemon.until_logged("configuration")
        await daemon.until_told("READY=1")
        assert await daemon.stop() == 0
    if not Path("/etc/mailqueue/config.toml").exists():
        assert "no configuration file" in line


@pytest.mark.parametrize(
    ("version", "words"), [("9999", "newer"), ("0000", "run `mailqueue db upgrade`")]
)
async def test_tables_of_another_version(
    file: Path, engine: Engine, version: str, words: str
) -> None:
    """Tables that it does not know it leaves alone: 78, so that no service manager tries again."""
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"))
    async with running("--config", file) as daemon:
        assert await daemon.ended() == 78
    assert daemon.log[-1].startswith("mailqueue: ")
    assert words in daemon.log[-1]
    assert not any("Traceback" in line for line in daemon.log)


async def test_a_database_of_somebody_else(file: Path, path: Path) -> None:
    """A database without our tables, but with others, is not taken over."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (text)")
    connection.close()
    async with running("--config", file) as daemon:
        assert await daemon.ended() == 78
    assert "mailqueue db upgrade" in daemon.log[-1]


@pytest.mark.backend("sqlite")
async def test_a_locked_database(file: Path, engine: Engine) -> None:
    """Behind a writer that does not end the start fails with 75: trying again may help."""
    with engine.begin():
        async with running("--config", file) as daemon:
            assert await daemon.ended() == 75
    assert "trying again is safe" in daemon.log[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("[relays.main]\nhots = 'x'\n", "relays.main.hots: is no key; did you mean host?"),
        ("[relays.main]\nhost = 'smtp.example.org'\ntls = 'none'\n", "relays.main.tls"),
    ],
)
async def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, content: str | None, words: str
) -> None:
    """It does not start with a configuration that is not understood: 78, and what is wrong."""
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_text(content)
    async with running("--config", file) as daemon:
        assert await daemon.ended() == 78
    assert words in "\n".join(daemon.log)
    assert not any("Traceback" in line for line in daemon.log)


async def test_the_journal_gets_priorities(file: Path, engine: Engine, tmp_path: Path) -> None:
    """Where standard error is systemd's journal, lines begin with their priority, without time."""
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    log = tmp_path / "journal"
    with log.open("wb") as journal:
        stream = os.fstat(journal.fileno())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailqueue", "run", "--config", str(file)),
            env={**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"},
            stderr=journal,
        )
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 78
    assert log.read_text().startswith("<6>configuration from ")


def test_which_stream_is_the_journal() -> None:
    """Device and inode must both be those that systemd names."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        found = os.fstat(descriptor)
        stream = f"{found.st_dev}:{found.st_ino}"
        assert goes_to_journal({"JOURNAL_STREAM": stream}, descriptor)
        assert not goes_to_journal({"JOURNAL_STREAM": f"{stream}1"}, descriptor)
        assert not goes_to_journal({"JOURNAL_STREAM": "nonsense"}, descriptor)
        assert not goes_to_journal({}, descriptor)
    finally:
        os.close(descriptor)
    assert not goes_to_journal({"JOURNAL_STREAM": stream}, descriptor)
