"""Servers that nobody here wrote: aiosmtpd, and Postfix's smtp-sink where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.acceptance.plays import ANN, BOB, CEE
from tests.support.daemon import PlainOutbox, Settings, running, until

if TYPE_CHECKING:
    import trustme

_PLACES = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
SMTP_SINK = shutil.which("smtp-sink", path=os.pathsep.join(_PLACES))

Serve = Callable[..., Any]


class Mailbox:
    """What aiosmtpd took: content by recipient. Refuses BOB."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address == BOB:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Any, envelope: Any
    ) -> str:
        for address in envelope.rcpt_tos:
            self.contents[address] = envelope.content
        return "250 2.0.0 taken"


@contextlib.asynccontextmanager
async def aiosmtpd(handler: object, **options: Any) -> AsyncIterator[Settings]:
    """Run aiosmtpd in this loop; yields the settings that lead to it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, loop=loop, hostname="relay.example", **options), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    yield {"host": "127.0.0.1", "port": port, "tls": "none"}
    server.close()


async def test_aiosmtpd_gets_the_mail_as_it_was_enqueued(outbox: PlainOutbox) -> None:
    """Dots at line begins, 8-bit text and several recipients arrive as they are."""
    raw = "Subject: dots\r\n\r\n.\r\n..two\r\nGrüße\r\n.".encode() + b"\r\n"
    outbox.put(ANN, BOB, CEE, raw=raw)
    outbox.put("dora@example.net", raw=raw)
    mailbox = Mailbox()
    async with (
        aiosmtpd(mailbox) as keys,
        running(outbox, {"main": keys}) as daemon,
    ):
        await daemon.until_states(sent=3, failed=1)
    stored = {
        row["address"]: row["raw"]
        for row in outbox.query(
            "SELECT address, raw FROM mailqueue_contents c"
            " JOIN mailqueue_recipients r ON r.message_id = c.message_id WHERE state = 'sent'"
        )
    }
    assert mailbox.contents == stored


async def test_aiosmtpd_takes_starttls_and_auth(
    outbox: PlainOutbox,
    server_tls: ssl.SSLContext,
    certificate_authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """STARTTLS with a checked certificate, EHLO again, AUTH inside of it, and then the mail."""
    ca_file = tmp_path / "ca.pem"
    certificate_authority.cert_pem.write_to_path(str(ca_file))

    def check(*arguments: Any) -> AuthResult:
        credentials = arguments[-1]
        assert isinstance(credentials, LoginPassword)
        return AuthResult(success=credentials.password == b"secret")

    mailbox = Mailbox()
    outbox.put(ANN)
    server = aiosmtpd(
        mailbox,
        tls_context=server_tls,
        require_starttls=True,
        auth_required=True,
        authenticator=check,
    )
    async with server as keys:
        secured = keys | {
            "tls": "starttls",
            "ca_file": str(ca_file),
            "username": "user",
            "password": "secret",
        }
        async with running(outbox, {"main": secured}) as daemon:
            await daemon.until_states(sent=1)
    assert mailbox.contents.keys() == {ANN}
    assert outbox.attempt(ANN)["tls"].startswith("TLSv1.")


@contextlib.asynccontextmanager
async def smtp_sink(*options: str) -> AsyncIterator[Settings]:
    """Run Postfix's test server; yields the settings that lead to it."""
    if SMTP_SINK is None:
        pytest.skip("Postfix's smtp-sink is not on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It refuses to run as root.
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        SMTP_SINK, *user, *options, f"127.0.0.1:{port}", "64", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _listens(port), what=lambda: process)
        yield {"host": "127.0.0.1", "port": port, "tls": "none"}
    finally:
        process.kill()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
async def test_smtp_sink_takes_a_hundred_mails(outbox: PlainOutbox) -> None:
    """Postfix's own idea of a server is content with ours of a client."""
    outbox.put_all([outbox.draft(f"r{number}@example.net", BOB) for number in range(100)])
    async with smtp_sink() as keys, running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(sent=200)
    assert len({row["session"] for row in outbox.attempts()}) <= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "states", "rule"),
    [
        (("-r", "RCPT"), {"deferred": 1}, "recipient-4xx"),
        (("-f", "RCPT"), {"failed": 1}, "recipient-5xx"),
        (("-r", "."), {"deferred": 1}, "message-4xx"),
        (("-f", "."), {"failed": 1}, "message-5xx"),
        (("-f", "DATA"), {"failed": 1}, "message-5xx"),
        (("-q", "RCPT"), {"deferred": 1}, "lost-before-dot"),
        (("-q", "."), {"deferred": 1}, "silence-after-dot"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_smtp_sink_refuses_and_hangs_up(
    outbox: PlainOutbox, options: tuple[str, ...], states: dict[str, int], rule: str
) -> None:
    """Its soft and hard refusals and its disconnects are recorded as what they are."""
    outbox.put(ANN)
    async with smtp_sink(*options) as keys, running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(**states)
    assert outbox.attempt(ANN)["rule"] == rule


@pytest.mark.slow
@pytest.mark.parametrize("command", ["CONNECT", "EHLO"])
async def test_smtp_sink_refuses_the_session(outbox: PlainOutbox, command: str) -> None:
    """A hard refusal before MAIL pauses the relay and costs the mail nothing."""
    outbox.put(ANN)
    hard = ("-f", f"{command},HELO" if command == "EHLO" else command)
    async with smtp_sink(*hard) as keys, running(outbox, {"main": keys}) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=1)
    assert outbox.recipient(ANN)["attempts"] == 0
