from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest

from mailqueue.mail.reply import Evidence, NoReplyKind, Reply
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Scope, judge
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    ANN,
    CONTENT,
    ENVELOPE,
    code_of,
    findings_of,
    kind_of,
    outcomes,
    refusal_of,
    session_with,
)

SHORT = {"greeting": 0.2, "ehlo": 0.2}


def is_the_relays_trouble(evidence: Evidence) -> bool:
    """Whether no mail pays for it and the relay is paused."""
    verdict = judge(evidence)
    return verdict.scope is Scope.RELAY and verdict.pauses_relay and not verdict.charged


async def test_a_session_knows_its_facts(relay: ScriptedRelay) -> None:
    """What attempts keep of a session: where it went, how it was secured, what was offered."""
    relay.extensions = ("SIZE 1000", "8BITMIME")
    session = await session_with(relay)
    facts = session.facts
    assert (facts.relay, facts.host, facts.tls) == ("test", relay.host, "")
    assert facts.peer == f"{relay.host}:{relay.port}"
    assert facts.extensions == {"SIZE", "8BITMIME"}
    assert facts.size_limit == 1000
    assert session.is_usable
    session.abort()


async def test_nobody_listens() -> None:
    """A refused connection is trouble with the relay, with the address that was tried."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        evidence = await refusal_of(ScriptedRelay(port=unused.getsockname()[1]))
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.REFUSED)
    assert "127.0.0.1: Connection refused" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)


async def test_no_such_host() -> None:
    """A name without address is trouble with the relay, and not a refused connection."""
    nowhere = ScriptedRelay(host="no-such-host.invalid", port=25)
    evidence = await refusal_of(nowhere, allow_plaintext=True)
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.UNRESOLVED)
    assert "no-such-host.invalid" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)


async def test_the_next_address_is_tried(
    relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with several addresses is reached if one of them answers."""
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", relay.port)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", relay.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: answers)
    session = await session_with(relay, host="relay.localhost")
    assert session.facts.peer == f"127.0.0.1:{relay.port}"
    session.abort()


async def test_all_addresses_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no address answers the evidence says so of each."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (1, 2)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: answers)
        evidence = await refusal_of(ScriptedRelay(port=port), host="relay.localhost")
    assert "127.0.0.1: " in str(evidence.answer)
    assert "127.0.0.2: " in str(evidence.answer)


def _no_socket_of(family: socket.AddressFamily, number: int) -> type[socket.socket]:
    """Return what stands for `socket.socket` where the kernel gives none of this family."""

    class Refusing(socket.socket):
        def __init__(self, asked: int = -1, *args: Any, **keys: Any) -> None:
            if asked == family:
                raise OSError(number, os.strerror(number))
            super().__init__(asked, *args, **keys)

    return Refusing


async def test_a_kernel_without_ipv6(relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of a family that this machine lacks is passed over, as one that is silent."""
    answers = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", relay.port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", relay.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: answers)
    refusing = _no_socket_of(socket.AF_INET6, errno.EAFNOSUPPORT)
    monkeypatch.setattr(socket, "socket", refusing)
    session = await session_with(relay, host="relay.localhost")
    assert session.facts.peer == f"127.0.0.1:{relay.port}"
    session.abort()


async def test_a_missing_family_hides_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other address was refused, that is the kind of trouble; both are named."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: answers)
        refusing = _no_socket_of(socket.AF_INET6, errno.EAFNOSUPPORT)
        monkeypatch.setattr(socket, "socket", refusing)
        evidence = await refusal_of(ScriptedRelay(port=port), host="relay.localhost")
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.REFUSED)
    assert "::1: Address family not supported" in str(evidence.answer)


async def test_no_descriptor_left(relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may open no more files pauses the relay, and no mail pays for it."""
    monkeypatch.setattr(socket, "socket", _no_socket_of(socket.AF_INET, errno.EMFILE))
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.LOCAL)
    assert "Too many open files" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)


async def test_what_nobody_foresaw(relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception at the opening becomes evidence: every mail would meet it, and none pays."""

    def broken() -> str:
        raise RuntimeError("unforeseen \x1b[2J")

    monkeypatch.setattr(socket, "gethostname", broken)
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.LOCAL)
    assert "RuntimeError: unforeseen ?[2J" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)


async def test_a_full_backlog_times_out() -> None:
    """A host that answers no SYN costs the connect timeout and no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        evidence = await refusal_of(ScriptedRelay(port=port), timeouts={"connect": 0.2})
        for client in waiting:
            client.close()
    assert (evidence.stage, kind_of(evidence)) == (Stage.CONNECT, NoReplyKind.TIMEOUT)


async def test_the_source_address_is_used(relay: ScriptedRelay) -> None:
    """The relay sees us come from the address that the configuration names."""
    session = await session_with(relay, source_address="127.0.0.9")
    assert relay.ledger.sessions[0].peer.startswith("127.0.0.9:")
    session.abort()


@pytest.mark.parametrize(
    ("greeting", "code", "text"),
    [
        ("554 5.7.1 no service for you", 554, "no service for you"),
        ("421 4.3.2 too busy", 421, "too busy"),
        ("521 example.net takes no mail", 521, "example.net takes no mail"),
        ("999 what", 999, "what"),
        ("250 this is no greeting", 250, "this is no greeting"),
        ("554", 554, ""),
    ],
)
async def test_a_greeting_that_is_a_refusal(
    relay: ScriptedRelay, script: Script, greeting: str, code: int, text: str
) -> None:
    """A greeting other than 220 keeps its code and text and is the relay's trouble."""
    script.on("CONNECT").reply(greeting)
    evidence = await refusal_of(relay)
    assert evidence.stage is Stage.GREETING
    assert code_of(evidence) == code
    assert isinstance(evidence.answer, Reply)
    assert evidence.answer.text == text
    assert is_the_relays_trouble(evidence)


async def test_a_refusing_greeting_of_many_lines(relay: ScriptedRelay, script: Script) -> None:
    """All lines of a refusing greeting are kept, printable and with one enhanced code."""
    script.on("CONNECT").reply(b"554-5.7.1 go \x1b[31maway", b"554 5.7.1 caf\xe9")
    evidence = await refusal_of(relay)
    assert isinstance(evidence.answer, Reply)
    assert str(evidence.answer.enhanced) == "5.7.1"
    assert evidence.answer.text == "go ?[31maway\ncaf?"


async def test_a_greeting_that_is_garbage(relay: ScriptedRelay, script: Script) -> None:
    """What is no SMTP reply is reported as such, at the greeting."""
    script.on("CONNECT").reply("HTTP/1.1 400 Bad Request")
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.GREETING, NoReplyKind.MALFORMED)


async def test_a_greeting_with_two_digits(relay: ScriptedRelay, script: Script) -> None:
    """A code is three digits; aiosmtplib would take ``25`` for one."""
    script.on("CONNECT").reply("25 hello")
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.GREETING, NoReplyKind.MALFORMED)


async def test_no_greeting_comes(relay: ScriptedRelay, script: Script) -> None:
    """A relay that connects and stays silent has a timeout of its own, at the greeting."""
    script.on("CONNECT").silence()
    evidence = await refusal_of(relay, timeouts=SHORT)
    assert (evidence.stage, kind_of(evidence)) == (Stage.GREETING, NoReplyKind.TIMEOUT)
    assert is_the_relays_trouble(evidence)
    await relay.wait_sessions_closed()


async def test_closed_instead_of_a_greeting(relay: ScriptedRelay, script: Script) -> None:
    """A relay that accepts and hangs up has lost the connection at the greeting."""
    script.on("CONNECT").close()
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.GREETING, NoReplyKind.LOST)


async def test_reset_instead_of_a_greeting(relay: ScriptedRelay, script: Script) -> None:
    """A reset before the greeting belongs to the greeting, not to connecting."""
    script.on("CONNECT").reset()
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.GREETING, NoReplyKind.LOST)


async def test_closed_behind_the_greeting(relay: ScriptedRelay, script: Script) -> None:
    """A relay that greets and hangs up has lost the connection at EHLO."""
    script.on("CONNECT").as_usual().close()
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.EHLO, NoReplyKind.LOST)


async def test_a_second_reply_behind_the_greeting(relay: ScriptedRelay, script: Script) -> None:
    """A reply too many shifts all those that follow by one: the session is not begun."""
    script.on("CONNECT").then(extra=b"250 and another\r\n")
    evidence = await refusal_of(relay)
    assert (evidence.stage, kind_of(evidence)) == (Stage.EHLO, NoReplyKind.MALFORMED)
    assert is_the_relays_trouble(evidence)


@pytest.mark.parametrize("refusal", ["500 what", "502 not here", "504 no"])
async def test_helo_where_ehlo_is_not_known(
    relay: ScriptedRelay, script: Script, refusal: str
) -> None:
    """A relay that does not know EHLO is greeted with HELO, has no extensions and gets its mail."""
    script.on("EHLO").reply(refusal)
    session = await session_with(relay)
    assert session.facts.extensions == frozenset()
    assert set(outcomes(await findings_of(session))) == {"sent"}
    assert relay.ledger.accepted[0].mail_parameters == ()
    session.abort()


async def test_neither_ehlo_nor_helo(relay: ScriptedRelay, script: Script) -> None:
    """Where HELO is refused too, its reply is the evidence."""
    script.on("EHLO").reply("502 no")
    script.on("HELO").reply("501 who are you")
    evidence = await refusal_of(relay)
    assert (evidence.stage, code_of(evidence)) == (Stage.EHLO, 501)
    assert evidence.command.startswith("HELO ")
    assert is_the_relays_trouble(evidence)


@pytest.mark.parametrize(
    "reply",
    ["421 4.3.2 busy", "451 4.3.0 later", "501 name", "503 wait", "550 5.7.1 no", "554 no"],
)
async def test_no_helo_after_a_refusal_of_us(
    relay: ScriptedRelay, script: Script, reply: str
) -> None:
    """A relay that knows EHLO and refuses is in trouble: HELO would cost the mail its 8 bits."""
    script.on("EHLO").reply(reply)
    evidence = await refusal_of(relay)
    assert (evidence.stage, code_of(evidence)) == (Stage.EHLO, int(reply[:3]))
    assert is_the_relays_trouble(evidence)
    await relay.wait_sessions_closed()
    assert relay.ledger.seen["HELO"] == 0


async def test_the_configured_name_is_said(relay: ScriptedRelay) -> None:
    """EHLO says the name from the configuration."""
    session = await session_with(relay, local_hostname="mx1.example.org")
    assert relay.ledger.sessions[0].commands == ["EHLO mx1.example.org"]
    session.abort()


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ("web3.example.org", "web3.example.org"),
        ("web3", "[127.0.0.1]"),
        ("under_score.example.org", "[127.0.0.1]"),
        ("localhost", "[127.0.0.1]"),
    ],
)
async def test_the_machines_own_name_is_said(
    relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch, machine: str, said: str
) -> None:
    """Without a configured name EHLO says the machine's full name, or its address."""
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    session = await session_with(relay)
    assert relay.ledger.sessions[0].commands == [f"EHLO {said}"]
    session.abort()


async def test_ipv6(script: Script) -> None:
    """An IPv6 relay is greeted with an IPv6 literal, and shown in brackets."""
    async with ScriptedRelay(script, host="::1") as relay:
        session = await session_with(relay)
        assert session.facts.peer == f"[::1]:{relay.port}"
        if not relay.ledger.sessions[0].commands[0].endswith("[IPv6:::1]"):
            assert "." in socket.gethostname()
        session.abort()


async def test_the_conversation_can_be_watched(relay: ScriptedRelay, script: Script) -> None:
    """A transcript sees every line as it went, the content as its size, and nothing that acts."""
    script.on("RCPT", address=ANN).reply(b"550 5.1.1 no \x1b[2Jsuch user")
    seen: list[str] = []

    class Watcher:
        def sent(self, line: str) -> None:
            seen.append(f"C: {line}")

        def received(self, text: str) -> None:
            seen.extend(f"S: {line}" for line in text.split("\n"))

    session = await session_with(relay, transcript=Watcher(), local_hostname="me.example.org")
    await findings_of(session)
    await session.quit()
    assert seen[:3] == [
        "S: 220 relay.example ESMTP ready",
        "C: EHLO me.example.org",
        "S: 250-relay.example",
    ]
    assert f"C: MAIL FROM:<{ENVELOPE.sender}> SIZE={CONTENT.size}" in seen
    assert "S: 550 5.1.1 no ?[2Jsuch user" in seen
    assert seen[-5:] == [
        f"C: ({CONTENT.size} octets of content)",
        "C: .",
        "S: 250 2.0.0 accepted as 1",
        "C: QUIT",
        "S: 221 2.0.0 relay.example closing",
    ]


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
async def test_cancelled_while_opening(relay: ScriptedRelay, script: Script, verb: str) -> None:
    """Who gives up waiting for a session leaves no connection behind."""
    script.on(verb).silence()
    opening = asyncio.create_task(session_with(relay))
    await relay.saw(verb)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await relay.wait_sessions_closed()
