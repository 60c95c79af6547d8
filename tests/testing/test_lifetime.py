"""Starting, stopping, coming back, and leaving nothing behind."""

import asyncio
import contextlib
import smtplib
import socket
import subprocess
import sys

import pytest

from mailqueue.testing import RelayThread, Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.testing.raw_client import connect, greeted


async def test_a_relay_goes_down_and_comes_back(relay: ScriptedRelay) -> None:
    """Stopped, it refuses; started again, it has the same port and the same ledger."""
    port = relay.port
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example"])
        await relay.stop()
        assert await client.everything() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(relay.host, port)
    await relay.start()
    assert relay.port == port
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example"])
    assert relay.ledger.deliveries("a@b.example") == 2
    assert [session.number for session in relay.ledger.sessions] == [1, 2]


async def test_a_port_may_be_given(relay: ScriptedRelay, start_relay: StartRelay) -> None:
    """A relay listens where it is told, or says that it cannot."""
    await relay.stop()
    other = await start_relay(ScriptedRelay(port=relay.port))
    assert other.port == relay.port
    with pytest.raises(OSError, match="in use"):
        await relay.start()


async def test_starting_and_stopping_twice_is_harmless() -> None:
    """Stop before start, double start and double stop do nothing."""
    relay = ScriptedRelay()
    await relay.stop()
    await relay.start()
    port = relay.port
    await relay.start()
    assert relay.port == port
    await relay.stop()
    await relay.stop()


async def test_stop_ends_every_session(script: Script) -> None:
    """Idle, silent, dripping, endless, waiting and stalled sessions are gone after stop."""
    script.on("NOOP").silence()
    script.on("HELP").drip(bytes_per_second=1)
    script.on("EXPN").endless()
    script.on("VRFY").wait_for(asyncio.Event())
    script.on("BODY").silence()
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(ScriptedRelay(script))
        await stack.enter_async_context(connect(relay))
        for command in ("NOOP", "HELP", "EXPN", "VRFY", "RSET"):
            client = await stack.enter_async_context(greeted(relay))
            await client.send(command.encode() + b"\r\n")
            await relay.saw(command)
        client = await stack.enter_async_context(greeted(relay))
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        await client.send(b"x")
        await relay.saw("BODY")
        assert len(relay.ledger.open_sessions) == 7
        await relay.stop()
        assert relay.ledger.open_sessions == []
        assert not relay.sessions
        assert [task for task in asyncio.all_tasks() if "Connection" in repr(task)] == []


@pytest.mark.parametrize("turns", range(8))
async def test_stopping_while_a_client_connects(turns: int) -> None:
    """A connection that is just being accepted is not left behind, whenever stop comes."""
    async with ScriptedRelay() as relay:
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect((relay.host, relay.port))
            for _ in range(turns):
                await asyncio.sleep(0)
            await relay.stop()
            assert relay.ledger.open_sessions == []


async def test_drop_sessions_keeps_listening(relay: ScriptedRelay) -> None:
    """All connections can be dropped while new ones are served."""
    async with greeted(relay) as client:
        await relay.drop_sessions()
        assert await client.everything() == b""
    async with greeted(relay) as client:
        assert await client.code("NOOP") == "250"


async def test_a_script_is_corrected_mid_way(relay: ScriptedRelay, script: Script) -> None:
    """A broken relay is repaired, or broken, without being restarted."""
    script.on("MAIL").reply("451 4.3.0 broken")
    async with greeted(relay) as client:
        assert await client.code("MAIL FROM:<>") == "451"
        script.clear()
        assert await client.code("MAIL FROM:<>") == "250"
        script.on("RCPT").reply("421 4.3.2 broken again")
        assert await client.code("RCPT TO:<a@b.example>") == "421"


async def test_a_profile_is_changed_mid_way() -> None:
    """What a relay offers can change between two sessions."""
    async with ScriptedRelay() as relay:
        async with greeted(relay) as client:
            assert "AUTH" not in await client.ask("EHLO c")
        relay.users = {"user": "secret"}
        async with greeted(relay) as client:
            assert "AUTH" in await client.ask("EHLO c")


@pytest.mark.parametrize("moment", ["CONNECT", "MAIL"])
async def test_a_broken_predicate_fails_the_test(moment: str) -> None:
    """An error in a predicate ends its session and is raised when the relay stops."""
    script = Script()
    script.on(moment).when(lambda cue: cue.verb == cue.verb[99])
    relay = ScriptedRelay(script)
    await relay.start()
    async with connect(relay) as client:
        await client.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
        with contextlib.suppress(ConnectionError):
            await client.everything()
    with pytest.raises(ExceptionGroup) as raised:
        await relay.stop()
    assert raised.group_contains(IndexError)
    await relay.stop()


async def test_a_broken_predicate_does_not_hide_the_test_s_own_error() -> None:
    """Where the test fails anyway, its own error comes first, with a note about the script."""
    script = Script()
    script.on("CONNECT").when(lambda cue: cue.verb == cue.verb[99])

    async def failing_test() -> None:
        async with ScriptedRelay(script) as relay, connect(relay) as client:
            with contextlib.suppress(ConnectionError):
                await client.everything()
            raise KeyError("the test's own")

    with pytest.raises(KeyError) as raised:
        await failing_test()
    assert "IndexError" in "".join(raised.value.__notes__)


def test_a_relay_beside_synchronous_code() -> None:
    """In a thread of its own a relay serves a blocking client, and its script can be changed."""
    script = Script()
    with RelayThread(ScriptedRelay(script)) as thread:
        with smtplib.SMTP(thread.host, thread.port, timeout=5) as client:
            client.sendmail("a@b.example", ["c@d.example"], "Subject: x\r\n\r\n.y\r\n")
            thread.call(lambda: script.on("MAIL").reply("550 5.0.0 no"))
            with pytest.raises(smtplib.SMTPSenderRefused):
                client.sendmail("a@b.example", ["c@d.example"], "x")
        thread.run(thread.relay.ledger.wait_for(1))
        assert thread.ledger.accepted[0].content == b"Subject: x\r\n\r\n.y\r\n"


def test_a_thread_that_cannot_start_ends() -> None:
    """A relay whose port is taken raises, and leaves no thread."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), RelayThread(ScriptedRelay(port=port)):
            pass  # pragma: no cover


def test_the_kit_needs_only_the_standard_library() -> None:
    """Importing the kit loads nothing besides the package but Python itself, not even pytest."""
    program = (
        "import sys, mailqueue; before = set(sys.modules); import mailqueue.testing;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names - {'mailqueue'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
