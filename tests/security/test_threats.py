"""The threats of docs/security.md that no test of a single part speaks of."""

from __future__ import annotations

import ast
import re
import sqlite3
import ssl
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import text

from mailqueue import NotAnOutboxError, Outbox
from mailqueue.config import RelaySettings
from mailqueue.outbox.engine import read_engine, write_engine
from mailqueue.smtp.relay import Relay
from mailqueue.testing import Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.support.daemon import OutboxFile, leading_to, process, running
from tests.support.named import ROOT

CANARY = "canary-9d41c7"
SQL = "x'; DROP TABLE mailqueue_messages; --"


async def test_what_is_secret_or_private_is_nowhere_but_where_it_belongs(
    outbox: OutboxFile, start_relay: StartRelay, tmp_path: Path
) -> None:
    """A password that the relay even echoes, a subject and a body: none of them is ever logged.

    Everything the daemon has written or said is searched: log, status, each file beside the outbox.
    """
    password, subject, body = (f"{kind}-{CANARY}" for kind in ("password", "subject", "body"))
    relay = await start_relay(ScriptedRelay(users={"user": "right"}, require_auth=True))
    relay.script.on("AUTH").times(1).reply(f"535 5.7.8 {password} is wrong")
    outbox.put("a@example.net", raw=f"Subject: {subject}\r\n\r\n{body}\r\n".encode())
    (tmp_path / "secret").write_text(password)
    (tmp_path / "secret").chmod(0o600)
    keys = leading_to(relay, username="user", password_file=str(tmp_path / "secret"))
    async with process(outbox, {"main": keys}, log={"level": "debug"}) as daemon:
        await daemon.logged("paused at auth")
        said = "\n".join(daemon.notifications.heard)
    log = daemon.log.read_text()
    assert "535" in log
    assert CANARY not in log + said
    assert password.encode() not in b"".join(
        file.read_bytes() for file in tmp_path.glob("outbox.db*") if file.is_file()
    )


async def test_sql_in_whatever_a_producer_says_is_text(
    outbox: OutboxFile, relay: ScriptedRelay, script: Script
) -> None:
    """Tags, keys and headers with quotes are stored as they are; so are replies with quotes."""
    script.on("RCPT").reply(f"550 5.1.1 {SQL}")
    raw = f"From: s@example.org\r\nTo: a@example.net\r\nSubject: {SQL}\r\n\r\n"
    with Outbox(outbox.url) as producer:
        receipt = producer.enqueue(raw.encode(), idempotency_key=SQL, tags={SQL: SQL})
        assert producer.status(receipt.id).tags == {SQL: SQL}
        assert producer.enqueue(raw.encode(), idempotency_key=SQL, tags={SQL: SQL}).duplicate
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(failed=1)
    assert SQL in outbox.recipient("a@example.net")["last_text"]


def test_no_statement_is_put_together_from_values() -> None:
    """SQL that is written out is a constant, or made of our own table and column names alone."""
    suspicious = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in sorted((ROOT / "mailqueue").rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and _runs_formatted_text(call)
    ]
    # PRAGMAs take no parameters; theirs are numbers and names of our own.
    assert [place for place in suspicious if not _is_pragma(place)] == []


def _runs_formatted_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    runs = name in {"execute", "executescript", "exec_driver_sql"}
    return runs and any(isinstance(part, ast.JoinedStr | ast.BinOp) for part in call.args[:1])


def _is_pragma(place: str) -> bool:
    file, _, line = place.partition(":")
    return "PRAGMA" in (ROOT / file).read_text().splitlines()[int(line) - 1]


def test_certificates_are_checked_and_old_tls_is_refused() -> None:
    """Every relay's context asks for a valid certificate of its name, and for TLS 1.2 or later."""
    for tls in ("starttls", "implicit"):
        context = Relay(RelaySettings(name="main", host="relay.example.org", tls=tls)).tls_context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_no_setting_switches_the_check_of_certificates_off() -> None:
    """There is a CA file and a server name for private relays, and nothing that trusts anybody."""
    keys = " ".join(RelaySettings.model_fields)
    assert not re.search(r"verif|insecure|check_hostname|trust", keys)


@pytest.mark.parametrize("opened", [write_engine, read_engine])
def test_a_database_cannot_load_code(opened: object, outbox: OutboxFile) -> None:
    """No connection of ours has extensions switched on, whatever the file's schema calls."""
    engine = opened(outbox.url)  # type: ignore[operator]
    with engine.connect() as connection, pytest.raises(Exception, match="not authorized"):
        connection.execute(text("SELECT load_extension('evil')"))
    engine.dispose()


def test_a_schema_that_calls_dangerous_functions_is_refused(outbox: OutboxFile) -> None:
    """With `trusted_schema=OFF` a trigger planted in the file cannot use what has side effects."""
    with sqlite3.connect(outbox.path) as shell:
        shell.execute(
            "CREATE TRIGGER planted AFTER INSERT ON mailqueue_messages"
            " BEGIN SELECT load_extension('evil'); END"
        )
    shell.close()
    with (
        Outbox(outbox.url) as producer,
        pytest.raises(Exception, match=r"unsafe use of load_extension|not authorized"),
    ):
        producer.enqueue(b"From: s@example.org\r\nTo: a@example.net\r\n\r\n")
    assert outbox.value("SELECT count(*) FROM mailqueue_messages") == 0


def test_a_damaged_page_is_noticed_and_not_interpreted(outbox: OutboxFile) -> None:
    """Garbage inside the file is an error of its own, and no crash of the process."""
    outbox.put(*(f"r{number}@example.net" for number in range(200)))
    outbox.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox.close()
    content = bytearray(outbox.path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    outbox.path.write_bytes(content)
    with Outbox(outbox.url) as producer, pytest.raises(NotAnOutboxError, match="damaged"):
        producer.status(1)


def test_versions_with_known_holes_are_not_let_in() -> None:
    """Before 5.1.3 aiosmtplib let commands in through addresses, and replies in before TLS.

    CVE-2026-53533, GHSA-vxj7-4xrp-5vr4.
    """
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "aiosmtplib>=5.1.3,<6" in declared
    assert tuple(map(int, version("aiosmtplib").split(".")[:3])) >= (5, 1, 3)
