"""Replies that come before their command."""

import asyncio

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.testing.raw_client import RawClient, connect, greeted

BEFORE = {
    "EHLO": ["220 relay.example ESMTP ready"],
    "MAIL": ["EHLO c"],
    "RCPT": ["EHLO c", "MAIL FROM:<>"],
    "DATA": ["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example>"],
    ".": ["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"],
    "QUIT": ["EHLO c"],
}


async def _say_all_before(client: RawClient, verb: str) -> None:
    await client.reply()
    for command in BEFORE[verb] if verb != "EHLO" else []:
        await client.ask(command)


@pytest.mark.parametrize("verb", BEFORE)
async def test_the_reply_is_there_before_the_command(
    relay: ScriptedRelay, script: Script, verb: str
) -> None:
    """The client can read the reply without having said anything."""
    script.on(verb).early().reply("451 4.0.0 too early")
    async with connect(relay) as client:
        await _say_all_before(client, verb)
        assert await client.reply() == "451 4.0.0 too early"
    assert relay.ledger.seen[verb] == 0


async def test_the_command_is_not_answered_again(relay: ScriptedRelay, script: Script) -> None:
    """An early reply stands for the later one, and takes effect when the command comes."""
    script.on("MAIL").early().reply("250 2.1.0 I know")
    script.on(".").early().times(1)
    async with greeted(relay) as client:
        assert await client.reply() == "250 2.1.0 I know"
        await client.send(b"MAIL FROM:<x@y.example>\r\n")
        assert await client.code("RCPT TO:<a@b.example>") == "250"
        assert await client.code("DATA") == "354"
        assert await client.code("") == "250", "of the dot that has not been sent"
        assert not relay.ledger.offered
        await client.send(b".\r\nNOOP\r\n")
        await relay.saw("NOOP")
    assert relay.ledger.accepted[0].sender == "x@y.example"


async def test_an_idle_session_is_dropped(relay: ScriptedRelay, script: Script) -> None:
    """With a delay the reply comes into the idle time before the second transaction."""
    rule = script.on("MAIL", transaction=2).early().delay(0.01).reply("421 4.4.2 idle").close()
    async with greeted(relay) as client:
        assert (await client.transact("", ["a@b.example"])).startswith("250")
        assert await client.everything() == b"421 4.4.2 idle\r\n"
    assert rule.used == 1


async def test_a_command_that_comes_meanwhile_waits(relay: ScriptedRelay, script: Script) -> None:
    """While an early reply is held back, what arrives is read after it."""
    release = asyncio.Event()
    script.on("MAIL").early().times(1).wait_for(release).reply("450 4.0.0 no")
    async with greeted(relay) as client:
        await client.send(b"MAIL FROM:<>\r\nNOOP\r\n")
        release.set()
        assert await client.reply() == "450 4.0.0 no"
        assert await client.reply() == "250 2.0.0 ok"
        assert await client.code("RCPT TO:<a@b.example>") == "503"


async def test_one_early_reply_for_one_command(relay: ScriptedRelay, script: Script) -> None:
    """An early reply is not sent again while its command is still awaited."""
    script.on("DATA").early().reply("354 hurry")
    async with greeted(relay) as client:
        await client.ask("MAIL FROM:<>")
        await client.send(b"RCPT TO:<a@b.example>\r\nRCPT TO:<b@b.example>\r\nNOOP\r\n")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "354", "250", "250"]


async def test_early_after_a_refusal_and_by_predicate(relay: ScriptedRelay, script: Script) -> None:
    """An early DATA can wait for the last recipient; after a refused MAIL come others."""
    script.on("DATA").early().when(lambda cue: len(cue.recipients) == 2).reply("354 hurry")
    script.on("MAIL", occurrence=1).reply("450 4.0.0 no")
    script.on("RSET").early().times(1).when(lambda cue: cue.transaction == 1)
    async with greeted(relay) as client:
        assert await client.code("MAIL FROM:<>") == "450"
        assert await client.reply() == "250 2.0.0 ok"
        await client.send(b"RSET\r\n")
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "RCPT TO:<b@b.example>"):
            assert await client.code(line) == "250"
        assert await client.reply() == "354 hurry"
        await client.send(b"DATA\r\n.\r\n")
        assert (await client.reply()).startswith("250 2.0.0 accepted")
