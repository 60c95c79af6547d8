"""A relay without a script keeps to RFC 5321, and demands it of its client."""

import pytest

from mailqueue.testing import ScriptedRelay
from tests.testing.raw_client import connect, greeted


async def test_a_session_from_greeting_to_quit(relay: ScriptedRelay) -> None:
    """A client that does everything right is greeted, served and let go."""
    async with connect(relay) as client:
        assert await client.reply() == "220 relay.example ESMTP ready"
        assert await client.ask("EHLO client.example") == (
            "250-relay.example|250-PIPELINING|250-SIZE 36700160|250-8BITMIME|250-SMTPUTF8"
            "|250 ENHANCEDSTATUSCODES"
        )
        assert await client.ask("MAIL FROM:<a@b.example> SIZE=10") == "250 2.1.0 sender ok"
        assert await client.ask("RCPT TO:<c@d.example>") == "250 2.1.5 recipient ok"
        assert await client.ask("DATA") == "354 end with <CRLF>.<CRLF>"
        await client.send(b"Subject: x\r\n\r\n..y\r\n.\r\n")
        assert await client.reply() == "250 2.0.0 accepted as 1"
        assert await client.ask("QUIT") == "221 2.0.0 relay.example closing"
        assert await client.everything() == b""
    assert relay.ledger.accepted[0].content == b"Subject: x\r\n\r\n.y\r\n"


@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        (["MAIL FROM:<a@b.example>"], "503 5.5.1"),
        (["EHLO"], "501"),
        (["EHLO client example"], "501"),
        (["EHLO [127.0.0.1]"], "250"),
        (["HELO client.example", "MAIL FROM:<a@b.example> SIZE=5"], "555 5.5.4"),
        (["HELO client.example", "MAIL FROM:<a@b.example>"], "250 2.1.0"),
        (["EHLO c", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"], "503 5.5.1"),
        (["EHLO c", "MAIL FROM:<a@b.example>", "RSET", "MAIL FROM:<a@b.example>"], "250"),
        (["EHLO c", "MAIL FROM:<a@b.example>", "EHLO c", "MAIL FROM:<a@b.example>"], "250"),
        (["EHLO c", "MAIL FROM:a@b.example"], "501 5.1.7"),
        (["EHLO c", "MAIL FROM:<a@b.example> FOO=1"], "555 5.5.4"),
        (["EHLO c", "MAIL FROM:<a@b.example> SIZE=x"], "501 5.5.4"),
        (["EHLO c", "MAIL FROM:<a@b.example> SIZE=99999999"], "552 5.3.4"),
        (["EHLO c", "MAIL FROM:<a@b.example> BODY=9BIT"], "501 5.5.4"),
        (["EHLO c", "MAIL FROM:<a@b.example> RET=HDRS"], "555 5.5.4"),
        (["EHLO c", "MAIL FROM:<ü@b.example>"], "553 5.6.7"),
        (["EHLO c", "MAIL FROM:<ü@b.example> SMTPUTF8"], "250"),
        (["EHLO c", "MAIL FROM:<>", "RCPT TO:<ü@b.example>"], "553 5.6.7"),
        (["EHLO c", "RCPT TO:<a@b.example>"], "503 5.5.1"),
        (["EHLO c", "MAIL FROM:<>", "RCPT TO:<a b@c.example>"], "501 5.1.3"),
        (["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example> NOTIFY=NEVER"], "555 5.5.4"),
        (["EHLO c", "DATA"], "503 5.5.1"),
        (["EHLO c", "MAIL FROM:<>", "DATA"], "554 5.5.1"),
        (["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA now"], "501 5.5.4"),
        (["EHLO c", "RSET x"], "501 5.5.4"),
        (["EHLO c", "NOOP whatever"], "250 2.0.0"),
        (["EHLO c", "VRFY a"], "252 2.5.2"),
        (["EHLO c", "STARTTLS"], "500 5.5.2"),
        (["EHLO c", "AUTH PLAIN"], "500 5.5.2"),
        (["EHLO c", "BDAT 5 LAST"], "500 5.5.2"),
        (["EHLO c", "NOOP " + "x" * 600], "500 5.5.2"),
        (["EHLO " + "x" * 600], "500"),
    ],
)
async def test_what_a_client_does_wrong_is_refused(
    relay: ScriptedRelay, dialogue: list[str], expected: str
) -> None:
    """The last reply of each dialogue is the one the RFCs ask for."""
    async with connect(relay) as client:
        await client.reply()
        for command in dialogue:
            last = await client.ask(command)
    assert last.startswith(expected)


@pytest.mark.parametrize(
    ("content", "parameters", "expected"),
    [
        (b"a\nb\r\n", "", "550 5.6.0"),
        (b"a\rb\r\n", "", "550 5.6.0"),
        (b"a" * 998 + b"\r\n", "", "250 2.0.0"),
        (b"a" * 999 + b"\r\n", "", "500 5.5.2"),
        (b"\xe9\r\n", "", "554 5.6.1"),
        (b"\xe9\r\n", " BODY=8BITMIME", "250 2.0.0"),
        (b"\xc3\xa9\r\n", " SMTPUTF8", "250 2.0.0"),
        (b"", "", "250 2.0.0"),
        (b"a" * 60 + b"\r\n" + b"a" * 60 + b"\r\n", "", "552 5.3.4"),
    ],
)
async def test_content_is_looked_at(content: bytes, parameters: str, expected: str) -> None:
    """Bare line ends, long lines, undeclared 8-bit content and too much of it are refused."""
    extensions = ["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    if expected == "552 5.3.4":
        extensions.append("SIZE 100")
    async with ScriptedRelay(extensions=extensions) as relay, greeted(relay) as client:
        await client.ask(f"MAIL FROM:<a@b.example>{parameters}")
        await client.ask("RCPT TO:<c@d.example>")
        await client.ask("DATA")
        await client.send(content + b".\r\n")
        assert (await client.reply()).startswith(expected)
        assert [offer.content for offer in relay.ledger.offered] == [content]
        assert len(relay.ledger) == expected.startswith("250")


async def test_extensions_are_what_is_configured() -> None:
    """DSN is taken where offered, and enhanced codes are left out where they are not."""
    async with ScriptedRelay(extensions=["DSN"]) as relay, greeted(relay) as client:
        assert await client.ask("MAIL FROM:<> RET=HDRS ENVID=1") == "250 sender ok"
        assert await client.code("RCPT TO:<a@b.example> NOTIFY=NEVER") == "250"
        assert await client.code("DATA") == "354"
        await client.send(b".\r\n")
        assert await client.reply() == "250 accepted as 1"
    (accepted,) = relay.ledger.accepted
    assert accepted.mail_parameters == ("RET=HDRS", "ENVID=1")
    assert accepted.recipient_parameters == {"a@b.example": ("NOTIFY=NEVER",)}


async def test_too_many_recipients() -> None:
    """Beyond the limit there is 452 4.5.3, and the others are served."""
    async with ScriptedRelay(max_recipients=2) as relay, greeted(relay) as client:
        await client.ask("MAIL FROM:<>")
        replies = [await client.ask(f"RCPT TO:<{name}@b.example>") for name in "abc"]
        assert replies[2] == "452 4.5.3 too many recipients"
        await client.ask("DATA")
        await client.send(b".\r\n")
        assert await client.code("NOOP") == "250"
    assert relay.ledger.accepted[0].recipients == ("a@b.example", "b@b.example")


async def test_pipelined_commands_and_bodies_are_taken_apart(relay: ScriptedRelay) -> None:
    """Two transactions, their bodies and QUIT in one segment get their replies in order."""
    group = b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<bad>\r\nDATA\r\nbody\r\n.\r\n"
    async with greeted(relay) as client:
        await client.send(group + group + b"QUIT\r\n")
        replies = await client.everything()
    codes = [line[:3] for line in replies.splitlines()]
    assert codes == [b"250", b"250", b"501", b"354", b"250"] * 2 + [b"221"]
    assert relay.ledger.deliveries("a@b.example") == 2


async def test_input_may_come_byte_by_byte(relay: ScriptedRelay) -> None:
    """Neither commands nor the final dot need to arrive in one piece."""
    session = b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n.\r\n..\r\n.\r\nQUIT\r\n"
    async with greeted(relay) as client:
        for byte in session:
            await client.send(bytes([byte]))
        replies = await client.everything()
    assert [line[:3] for line in replies.splitlines()] == [
        b"250",
        b"250",
        b"354",
        b"250",
        b"500",
        b"500",
        b"221",
    ]


async def test_a_megabyte_arrives_whole(relay: ScriptedRelay) -> None:
    """A large body, full of dots, is restored octet by octet."""
    content = b".......\r\n" * 120_000
    async with greeted(relay) as client:
        await client.transact(
            "a@b.example", ["c@d.example"], b"." + content.replace(b"\r\n.", b"\r\n..")
        )
    assert relay.ledger.accepted[0].content == content
