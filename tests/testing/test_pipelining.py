"""Groups of commands: a client that hurries is found out."""

from __future__ import annotations

import pytest

from mailqueue.testing import ScriptedRelay
from tests.testing.raw_client import greeted

GROUP = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
CONTENT = b"Subject: x\r\n\r\ny\r\n.\r\n"


async def test_a_group_in_its_form_is_no_haste(relay: ScriptedRelay) -> None:
    """DATA ends one, and the content may begin the next (RFC 2920 section 3.1)."""
    async with greeted(relay) as client:
        await client.send(GROUP)
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await client.send(CONTENT + b"RSET\r\n" + GROUP)
        replies = [(await client.reply())[:3] for _ in range(5)]
        assert replies == ["250", "250", "250", "250", "354"]
    assert relay.ledger.sessions[0].hasty == []


@pytest.mark.parametrize(
    ("said", "replies", "hasty"),
    [
        (GROUP + CONTENT, 4, ["DATA"]),
        (b"NOOP\r\nRSET\r\n", 2, ["NOOP"]),
        (b"EHLO again.example\r\nNOOP\r\n", 2, ["EHLO again.example"]),
    ],
)
async def test_some_commands_must_be_the_last_of_their_group(
    relay: ScriptedRelay, said: bytes, replies: int, hasty: list[str]
) -> None:
    """It is answered all the same, and stands on record."""
    async with greeted(relay) as client:
        await client.send(said)
        for _ in range(replies):
            assert await client.reply()
    assert relay.ledger.sessions[0].hasty == hasty
    assert "written too early behind" in relay.ledger.sessions[0].transcript


async def test_no_groups_where_they_are_not_offered(relay: ScriptedRelay) -> None:
    """Then each command waits for the reply to the one before it."""
    relay.extensions = ("SIZE",)
    async with greeted(relay) as client:
        await client.send(GROUP)
        for _ in range(3):
            assert await client.reply()
    assert relay.ledger.sessions[0].hasty == [
        "MAIL FROM:<a@b.example>",
        "RCPT TO:<c@d.example>",
    ]
