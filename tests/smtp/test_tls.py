from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from mailqueue.errors import ConfigError
from mailqueue.mail.reply import Evidence, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Scope, judge
from mailqueue.smtp import Relay
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    code_of,
    findings_of,
    kind_of,
    outcomes,
    refusal_of,
    session_with,
    settings_for,
)


def assert_nothing_sent_in_clear(relay: ScriptedRelay) -> None:
    """Neither mail nor credentials may have gone out without TLS."""
    for verb in ("AUTH", "MAIL", "RCPT", "DATA"):
        assert relay.ledger.seen[verb] == 0


def is_the_relays_trouble(evidence: Evidence) -> bool:
    """Whether no mail pays for it and the relay is paused."""
    verdict = judge(evidence)
    return verdict.scope is Scope.RELAY and verdict.pauses_relay and not verdict.charged


async def test_starttls_with_a_ca_of_our_own(tls_relay: ScriptedRelay, ca_file: str) -> None:
    """With a private authority the session is secured, and EHLO said again inside of TLS."""
    session = await session_with(tls_relay, tls="starttls", ca_file=ca_file)
    assert session.facts.tls == "TLSv1.3"
    assert "AUTH" in session.facts.extensions, "what is offered outside of TLS is forgotten"
    assert set(outcomes(await findings_of(session))) == {"sent"}
    assert tls_relay.ledger.sessions[0].verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]
    session.abort()


async def test_implicit_tls(implicit_tls_relay: ScriptedRelay, ca_file: str) -> None:
    """TLS from the first byte: no STARTTLS is asked, and the mail goes."""
    session = await session_with(implicit_tls_relay, tls="implicit", ca_file=ca_file)
    assert session.facts.tls == "TLSv1.3"
    assert set(outcomes(await findings_of(session))) == {"sent"}
    assert implicit_tls_relay.ledger.seen["STARTTLS"] == 0
    await session.quit()


async def test_starttls_with_an_unknown_authority(tls_relay: ScriptedRelay) -> None:
    """A certificate that nobody vouches for is the relay's trouble, and the mail stays here."""
    evidence = await refusal_of(tls_relay, tls="starttls")
    assert (evidence.stage, kind_of(evidence)) == (Stage.STARTTLS, NoReplyKind.TLS)
    assert "certificate verify failed" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)
    assert_nothing_sent_in_clear(tls_relay)


async def test_implicit_tls_with_an_unknown_authority(implicit_tls_relay: ScriptedRelay) -> None:
    """The same with implicit TLS, where the handshake belongs to connecting."""
    evidence = await refusal_of(implicit_tls_relay, tls="implicit")
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.TLS)
    assert is_the_relays_trouble(evidence)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_certificate_for_another_name(
    script: Script, certificate_authority: trustme.CA, ca_file: str, tls: str
) -> None:
    """The certificate must bear the relay's name, or the one that the configuration gives."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("smarthost.example").configure_cert(context)
    async with ScriptedRelay(script, tls=context, implicit_tls=tls == "implicit") as relay:
        evidence = await refusal_of(relay, tls=tls, ca_file=ca_file)
        assert kind_of(evidence) is NoReplyKind.TLS
        session = await session_with(
            relay, tls=tls, ca_file=ca_file, tls_server_name="smarthost.example"
        )
        assert session.facts.tls
        session.abort()


async def test_starttls_stripped(script: Script) -> None:
    """Where STARTTLS is asked for and not offered there is no session, rather than an open one."""
    async with ScriptedRelay(script, users={"user": "secret"}) as relay:
        evidence = await refusal_of(
            relay, tls="starttls", username="user", password="secret", host="localhost"
        )
        assert (evidence.stage, kind_of(evidence)) == (Stage.STARTTLS, NoReplyKind.TLS)
        assert is_the_relays_trouble(evidence)
        await relay.wait_sessions_closed()
        assert_nothing_sent_in_clear(relay)


async def test_helo_has_no_starttls(tls_relay: ScriptedRelay, script: Script) -> None:
    """Who refuses EHLO cannot talk us out of TLS either."""
    script.on("EHLO").reply("502 no")
    evidence = await refusal_of(tls_relay, tls="starttls")
    assert (evidence.stage, kind_of(evidence)) == (Stage.STARTTLS, NoReplyKind.TLS)
    assert_nothing_sent_in_clear(tls_relay)


@pytest.mark.parametrize(
    "reply", ["454 4.7.0 TLS not available", "501 no", "421 4.3.2 closing", "250 ok"]
)
async def test_starttls_refused(
    tls_relay: ScriptedRelay, script: Script, ca_file: str, reply: str
) -> None:
    """A reply to STARTTLS other than 220 is kept and is the relay's trouble."""
    script.on("STARTTLS").reply(reply)
    evidence = await refusal_of(tls_relay, tls="starttls", ca_file=ca_file)
    assert (evidence.stage, code_of(evidence)) == (Stage.STARTTLS, int(reply[:3]))
    assert is_the_relays_trouble(evidence)
    assert_nothing_sent_in_clear(tls_relay)


@pytest.mark.parametrize("pause", [None, 0.01])
async def test_bytes_injected_behind_the_220(
    tls_relay: ScriptedRelay, script: Script, ca_file: str, pause: float | None
) -> None:
    """Clear text behind the 220, in its segment or after it, never counts as said inside TLS."""
    rule = script.on("STARTTLS").then(extra=b"250-relay.example\r\n250 AUTH PLAIN\r\n")
    if pause is not None:
        rule.split_at(len(b"220 2.0.0 ready to start TLS\r\n"), pause=pause)
    evidence = await refusal_of(tls_relay, tls="starttls", ca_file=ca_file)
    assert evidence.stage is Stage.STARTTLS
    assert kind_of(evidence) in (NoReplyKind.MALFORMED, NoReplyKind.TLS)
    if pause is None:
        assert kind_of(evidence) is NoReplyKind.MALFORMED
    assert_nothing_sent_in_clear(tls_relay)


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_lost_in_the_handshake(
    tls_relay: ScriptedRelay, script: Script, ca_file: str, ending: str
) -> None:
    """A connection that ends in the handshake is lost at STARTTLS."""
    rule = script.on("TLS")
    rule.close() if ending == "close" else rule.reset()
    evidence = await refusal_of(tls_relay, tls="starttls", ca_file=ca_file)
    assert (evidence.stage, kind_of(evidence)) == (Stage.STARTTLS, NoReplyKind.LOST)
    assert is_the_relays_trouble(evidence)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_silence_in_the_handshake(
    script: Script, server_tls: ssl.SSLContext, ca_file: str, tls: str
) -> None:
    """A handshake that never ends costs its timeout."""
    script.on("TLS").silence()
    async with ScriptedRelay(script, tls=server_tls, implicit_tls=tls == "implicit") as relay:
        evidence = await refusal_of(
            relay, tls=tls, ca_file=ca_file, timeouts={"starttls": 0.2, "greeting": 0.2}
        )
        stage = Stage.STARTTLS if tls == "starttls" else Stage.CONNECT
        assert (evidence.stage, kind_of(evidence)) == (stage, NoReplyKind.TIMEOUT)
        await relay.wait_sessions_closed()


async def test_no_tls_where_tls_is_expected(relay: ScriptedRelay) -> None:
    """A relay that greets in the clear on a port meant for TLS is a TLS trouble."""
    evidence = await refusal_of(relay, tls="implicit")
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.TLS)


def test_the_context_is_shared() -> None:
    """Reading the authorities takes 20 ms, so a relay does it once; TLS is verified and not old."""
    relay = Relay(settings_for(ScriptedRelay(port=25), tls="starttls"))
    with socket.socket() as one, socket.socket() as another:
        contexts = {
            relay.client(sock, local_hostname="me.example").tls_context for sock in (one, another)
        }
    assert contexts == {relay.tls_context}
    assert relay.tls_context.verify_mode is ssl.CERT_REQUIRED
    assert relay.tls_context.check_hostname
    assert relay.tls_context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """A missing or broken ca_file is found when the relay is set up, and named."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = settings_for(ScriptedRelay(port=25), tls="starttls", ca_file=str(file))
    with pytest.raises(ConfigError, match=r"relays\.test\.ca_file .*ca\.pem"):
        Relay(settings)
