"""The same wire on asyncio's loop and on uvloop, in the clear and in TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from aiosmtplib.protocol import SMTPProtocol

from mailqueue.mail.reply import NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome
from mailqueue.smtp.wire import Wire
from mailqueue.testing import RelayThread, Script, ScriptedRelay
from tests.smtp.parts import (
    ANN,
    ENVELOPE,
    Keys,
    code_of,
    content_of,
    dot_written,
    findings_of,
    kind_of,
    outcomes,
    refusal_of,
    session_with,
    stages,
    transact,
)

pytestmark = pytest.mark.usefixtures("way")

uvloop = pytest.importorskip("uvloop")

MIB = 1024 * 1024
SENT = {Outcome.SENT}

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """A function that runs a coroutine in a loop of this kind."""

    def run_in_loop(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return run_in_loop


@pytest.fixture(params=["none", "starttls", "implicit"])
def tls(request: pytest.FixtureRequest) -> str:
    """Each way to secure a session, and none."""
    return str(request.param)


@pytest.fixture
def relay(script: Script, tls: str, server_tls: ssl.SSLContext) -> Iterator[RelayThread]:
    """A relay in a thread, on asyncio's own loop."""
    scripted = ScriptedRelay(
        script, tls=None if tls == "none" else server_tls, implicit_tls=tls == "implicit"
    )
    with RelayThread(scripted) as thread:
        yield thread


@pytest.fixture
def keys(tls: str, ca_file: str) -> dict[str, Keys]:
    """The settings that go with the relay."""
    return {"tls": tls, "ca_file": ca_file}


async def seen(relay: RelayThread, verb: str) -> None:
    """Wait until the relay has seen this command."""
    await asyncio.to_thread(relay.run, relay.relay.saw(verb))


@pytest.mark.parametrize("octets", [100, 5 * MIB])
def test_mail_goes(run: Run, relay: RelayThread, keys: dict[str, Keys], octets: int) -> None:
    """Small and large content arrives as it was, on one session after another."""
    content = content_of(octets)

    async def main() -> None:
        session = await session_with(relay, **keys)
        assert bool(session.facts.tls) == (keys["tls"] != "none")
        for _ in range(2):
            assert set(outcomes(await findings_of(session, content=content))) == SENT
        await session.quit()

    run(main())
    assert [one.content == content.raw for one in relay.ledger.accepted] == [True, True]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_wrong_authority(run: Run, relay: RelayThread, keys: dict[str, Keys]) -> None:
    """A certificate that nobody vouches for is told as such."""

    async def main() -> None:
        evidence = await refusal_of(relay, tls=keys["tls"])
        assert kind_of(evidence) is NoReplyKind.TLS

    run(main())
    assert relay.ledger.seen["MAIL"] == 0


def test_cancelled_in_the_midst(
    run: Run, relay: RelayThread, script: Script, keys: dict[str, Keys]
) -> None:
    """A cancelled upload is not flushed, whichever loop holds its buffers."""
    script.on("BODY").silence()

    async def main() -> None:
        session = await session_with(relay, **keys)
        sending = asyncio.create_task(transact(session, ENVELOPE, content_of(15 * MIB)))
        await seen(relay, "BODY")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not dot_written(session)
        assert not session.is_usable

    run(main())
    relay.run(relay.relay.wait_sessions_closed())
    assert relay.ledger.offered == []


def test_refused_in_the_midst(
    run: Run, relay: RelayThread, script: Script, keys: dict[str, Keys]
) -> None:
    """A reply before the dot wakes the upload that waits for room."""
    script.on("BODY").after(octets=100_000).reply("552 5.3.4 too big").silence()

    async def main() -> None:
        session = await session_with(relay, **keys)
        findings = await findings_of(session, content=content_of(15 * MIB))
        assert {code_of(one.evidence) for one in findings} == {552}
        assert set(stages(findings)) == {Stage.DATA}

    run(main())
    relay.run(relay.relay.wait_sessions_closed())
    assert relay.ledger.offered == []


@pytest.mark.parametrize("ending", ["close", "reset", "half-close"])
def test_lost_after_the_dot(
    run: Run, relay: RelayThread, script: Script, keys: dict[str, Keys], ending: str
) -> None:
    """Silence after the dot leaves doubt."""
    rule = script.on(".").accept()
    {"close": rule.close, "reset": rule.reset, "half-close": rule.half_close}[ending]()

    async def main() -> None:
        session = await session_with(relay, **keys)
        findings = await findings_of(session)
        assert set(outcomes(findings)) == {Outcome.IN_DOUBT}
        assert dot_written(session)

    run(main())


def test_a_spare_reply(run: Run, relay: RelayThread, script: Script, keys: dict[str, Keys]) -> None:
    """The tap stands in front of the library's protocol."""
    script.on("RCPT", address=ANN).then(extra=b"250 spare\r\n")

    async def main() -> None:
        session = await session_with(relay, **keys)
        findings = await findings_of(session)
        assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.MALFORMED}
        assert not session.is_usable

    run(main())


def test_a_dot_that_never_left(run: Run) -> None:
    """Each loop tells what it has not sent yet."""

    async def main() -> None:
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(SMTPProtocol, sock=near)
        wire = Wire(protocol)
        evidence = await wire.finish(b"x" * 8 * MIB + b"\r\n.\r\n", timeout=0.2)
        assert (evidence.stage, kind_of(evidence)) == (Stage.DATA, NoReplyKind.TIMEOUT)
        assert not wire.dot_written
        far.close()

    run(main())
