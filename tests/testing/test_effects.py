"""What a relay makes of the replies its script gives."""

from collections.abc import Callable

import pytest

from mailqueue.testing import Rule, Script, ScriptedRelay
from tests.testing.raw_client import connect, greeted


@pytest.mark.parametrize(
    ("tell", "accepted"),
    [
        (lambda rule: rule.close(), 0),
        (lambda rule: rule.accept().close(), 1),
        (lambda rule: rule.accept().silence(), 1),
        (lambda rule: rule.as_usual().close(), 1),
        (lambda rule: rule.reply("250 ok").reset(), 1),
        (lambda rule: rule.reply("299 odd"), 1),
        (lambda rule: rule.reply("451 later"), 0),
        (lambda rule: rule.reply("250-yes", "550 no"), 0),
        (lambda rule: rule.reply("354 go on"), 0),
        (lambda rule: rule.raw(b"250 ok\n"), 0),
    ],
)
async def test_what_counts_as_accepted(
    relay: ScriptedRelay, script: Script, tell: Callable[[Rule], Rule], accepted: int
) -> None:
    """Only a whole 2xx makes an acceptance, or the script's word that the reply was lost."""
    tell(script.on("."))
    async with greeted(relay) as client:
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        await client.send(b"x\r\n.\r\n")
        await relay.saw(".")
        await relay.until(lambda: len(relay.ledger.offered) == 1)
    assert relay.ledger.deliveries("a@b.example") == accepted


@pytest.mark.parametrize("reply", ["250 ok", "550 no", "451 later", "252 maybe", "251 elsewhere"])
async def test_the_reply_decides_about_a_recipient(
    relay: ScriptedRelay, script: Script, reply: str
) -> None:
    """A recipient is on the message if, and only if, it was answered with 2xx."""
    script.on("RCPT", address="b@c.example").reply(reply)
    async with greeted(relay) as client:
        await client.ask("MAIL FROM:<>")
        await client.ask("RCPT TO:<a@c.example>")
        assert await client.ask("RCPT TO:<b@c.example>") == reply
        await client.ask("DATA")
        await client.send(b".\r\n")
        await client.reply()
    assert relay.ledger.deliveries("a@c.example") == 1
    assert relay.ledger.deliveries("b@c.example") == reply.startswith("2")


async def test_mixed_answers_for_many_recipients(relay: ScriptedRelay, script: Script) -> None:
    """150 recipients, each with the answer its own rule gives it, pipelined."""
    for number in range(0, 150, 3):
        script.on("RCPT", address=f"r{number}@b.example").reply("550 5.1.1 no")
        script.on("RCPT", address=f"r{number + 1}@b.example").times(1).reply("451 4.7.1 later")
    commands = [
        b"MAIL FROM:<>",
        *(b"RCPT TO:<r%d@b.example>" % n for n in range(150)),
        b"DATA",
        b".",
    ]
    async with greeted(relay) as client:
        await client.send(b"".join(command + b"\r\n" for command in commands))
        codes = [(await client.reply())[:3] for _ in commands]
    assert codes == ["250", *["550", "451", "250"] * 50, "354", "250"]
    assert relay.ledger.accepted[0].recipients == tuple(f"r{n}@b.example" for n in range(2, 150, 3))
    assert not script.unused


async def test_data_answered_wrongly_begins_no_body(relay: ScriptedRelay, script: Script) -> None:
    """After anything but a 3xx to DATA the relay goes on reading commands."""
    script.on("DATA").reply("250 ok")
    async with greeted(relay) as client:
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        assert await client.code("Subject: x") == "500"


async def test_a_greeting_that_refuses(relay: ScriptedRelay, script: Script) -> None:
    """After a 554 greeting everything but QUIT is answered with 503 (RFC 5321 section 3.1)."""
    script.on("CONNECT").reply("554 no service")
    async with connect(relay) as client:
        assert await client.reply() == "554 no service"
        assert [await client.code(line) for line in ("EHLO c", "NOOP", "QUIT")] == [
            "503",
            "503",
            "221",
        ]
