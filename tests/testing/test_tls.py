"""STARTTLS (RFC 3207) and implicit TLS (RFC 8314), sound and broken."""

import asyncio
import base64
import ssl

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.testing.raw_client import connect, greeted

PLAIN = "AUTH PLAIN " + base64.b64encode(b"\0user\0secret").decode()


async def test_starttls(tls_relay: ScriptedRelay, client_tls: ssl.SSLContext) -> None:
    """After STARTTLS everything is forgotten, and AUTH is offered inside only."""
    async with connect(tls_relay) as client:
        assert "STARTTLS" in await client.greet()
        assert await client.code(PLAIN) == "538"
        await client.secure(client_tls)
        assert await client.code("MAIL FROM:<>") == "503"
        inside = await client.ask("EHLO c")
        assert "AUTH PLAIN" in inside
        assert "STARTTLS" not in inside
        assert await client.code("STARTTLS") == "503"
        assert await client.code(PLAIN) == "235"
        assert (await client.transact("", ["a@b.example"])).startswith("250")
        assert await client.code("QUIT") == "221"
        assert await client.everything() == b""
    (accepted,) = tls_relay.ledger.accepted
    assert (accepted.tls, accepted.authenticated_as) == ("TLSv1.3", "user")


async def test_implicit_tls(implicit_tls_relay: ScriptedRelay, client_tls: ssl.SSLContext) -> None:
    """With implicit TLS the greeting itself comes inside."""
    async with connect(implicit_tls_relay, tls=client_tls) as client:
        assert (await client.reply()).startswith("220")
        assert "STARTTLS" not in await client.ask("EHLO c")
        assert await client.code(PLAIN) == "235"
    await implicit_tls_relay.wait_sessions_closed()


async def test_mail_may_need_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """With `require_tls` MAIL is refused in the clear with 530."""
    async with (
        ScriptedRelay(tls=server_tls, require_tls=True) as relay,
        greeted(relay) as client,
    ):
        assert await client.code("MAIL FROM:<>") == "530"
        await client.secure(client_tls)
        await client.ask("EHLO c")
        assert await client.code("MAIL FROM:<>") == "250"


async def test_nothing_agreed_before_tls_counts_inside(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A user and a transaction that a script let in too early are forgotten with the rest."""
    script = Script()
    script.on("AUTH").reply("235 2.7.0 come in")
    script.on("STARTTLS").reply("220 2.0.0 go ahead")
    users = {"user": "secret"}
    async with (
        ScriptedRelay(script, tls=server_tls, users=users, require_auth=True) as relay,
        greeted(relay) as client,
    ):
        assert await client.code("AUTH PLAIN") == "235"
        assert await client.code("MAIL FROM:<>") == "250"
        await client.secure(client_tls)
        await client.ask("EHLO c")
        assert await client.code("MAIL FROM:<>") == "530"
        assert relay.ledger.sessions[0].authenticated_as is None
        assert await client.code("AUTH PLAIN") == "235"
        assert await client.code("MAIL FROM:<>") == "250"


async def test_commands_sent_before_tls_are_not_believed(
    tls_relay: ScriptedRelay, client_tls: ssl.SSLContext
) -> None:
    """What is pipelined after STARTTLS is thrown away."""
    async with greeted(tls_relay) as client:
        await client.send(b"STARTTLS\r\nNOOP\r\nNOOP\r\n")
        assert (await client.reply()).startswith("220")
        await client.writer.start_tls(client_tls, server_hostname="localhost")
        await client.ask("EHLO c")
        assert tls_relay.ledger.seen["NOOP"] == 0


async def test_a_certificate_that_is_not_trusted(tls_relay: ScriptedRelay) -> None:
    """The relay records why a handshake failed, and is there for the next client."""
    async with greeted(tls_relay) as client:
        assert await client.code("STARTTLS") == "220"
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.writer.start_tls(ssl.create_default_context(), server_hostname="localhost")
    await tls_relay.wait_sessions_closed()
    assert tls_relay.ledger.sessions[0].tls_error
    async with greeted(tls_relay) as client:
        assert await client.code("NOOP") == "250"


async def test_starttls_can_be_refused(tls_relay: ScriptedRelay, script: Script) -> None:
    """A scripted 454 leaves the session in the clear and usable."""
    script.on("STARTTLS").reply("454 4.7.0 TLS not available")
    async with greeted(tls_relay) as client:
        assert await client.code("STARTTLS") == "454"
        assert await client.code("MAIL FROM:<>") == "250"


async def test_replies_can_be_injected_before_tls(tls_relay: ScriptedRelay, script: Script) -> None:
    """Plaintext behind the 220 arrives in the same segment."""
    script.on("STARTTLS").then(extra=b"250 injected\r\n")
    async with greeted(tls_relay) as client:
        await client.send(b"STARTTLS\r\n")
        assert await client.reader.read(200) == b"220 2.0.0 ready to start TLS\r\n250 injected\r\n"


@pytest.mark.parametrize("implicit", [False, True])
async def test_the_handshake_can_be_spoilt(server_tls: ssl.SSLContext, implicit: bool) -> None:
    """Before the handshake a relay can be silent, hang up, or talk something that is not TLS."""
    script = Script()
    script.on("TLS", session=1).close()
    script.on("TLS", session=2).raw(b"not TLS at all").close()
    script.on("TLS", session=3).silence()
    async with ScriptedRelay(script, tls=server_tls, implicit_tls=implicit) as relay:
        for expected in (b"", b"not TLS at all"):
            async with connect(relay) as client:
                if not implicit:
                    await client.greet()
                    await client.ask("STARTTLS")
                assert await client.everything() == expected
        async with connect(relay) as client:
            if not implicit:
                await client.greet()
                await client.ask("STARTTLS")
            await relay.saw("TLS", 3)
            await client.send(b"\x16\x03\x01")
        await relay.wait_sessions_closed()
    assert not script.unused
    assert all(session.tls is None for session in relay.ledger.sessions)


@pytest.mark.parametrize("garbage", [b"this is no handshake at all\r\n", b"\x16\x03\x01"])
async def test_a_client_that_breaks_the_handshake(tls_relay: ScriptedRelay, garbage: bytes) -> None:
    """A client that sends nonsense or half a handshake and goes leaves nothing behind."""
    async with greeted(tls_relay) as client:
        await client.ask("STARTTLS")
        await client.send(garbage)
        await tls_relay.saw("TLS")
    await tls_relay.wait_sessions_closed()
    assert tls_relay.ledger.sessions[0].tls is None


@pytest.mark.parametrize("how", ["close", "reset", "half_close", "silence"])
async def test_sessions_end_inside_tls_too(
    tls_relay: ScriptedRelay, script: Script, client_tls: ssl.SSLContext, how: str
) -> None:
    """Every ending works beneath TLS, and nothing is left open."""
    getattr(script.on("NOOP"), how)()
    async with greeted(tls_relay) as client:
        await client.secure(client_tls)
        await client.send(b"NOOP\r\n")
        await tls_relay.saw("NOOP")
        if how == "silence":
            assert tls_relay.ledger.sessions[0].is_open
        elif how == "reset":
            with pytest.raises(ConnectionResetError):
                await client.everything()
        else:
            assert await client.everything() == b""
    await tls_relay.wait_sessions_closed()


async def test_stopping_in_the_middle_of_a_handshake(tls_relay: ScriptedRelay) -> None:
    """A relay stops although a client never finishes its handshake."""
    async with greeted(tls_relay) as client:
        await client.ask("STARTTLS")
        await tls_relay.saw("TLS")
        async with asyncio.timeout(5):
            await tls_relay.stop()
        assert not tls_relay.sessions
