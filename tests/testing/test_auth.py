"""AUTH with each mechanism, right and wrong (RFC 4954)."""

import base64

import pytest

from mailqueue.testing import Claim, Script, ScriptedRelay
from tests.testing.raw_client import greeted

USERS = {"user": "secret"}


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _xoauth2(token: str) -> str:
    return _b64(f"user=user\x01auth=Bearer {token}\x01\x01")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([f"AUTH PLAIN {_b64(chr(0) + 'user' + chr(0) + 'secret')}"], "235"),
        (["AUTH PLAIN", _b64("\0user\0secret")], "235"),
        (["auth plain", _b64("\0user\0wrong")], "535"),
        (["AUTH PLAIN", _b64("\0nobody\0secret")], "535"),
        (["AUTH PLAIN", _b64("nonsense")], "501"),
        (["AUTH PLAIN", "=nonsense="], "501"),
        (["AUTH PLAIN", "*"], "501"),
        (["AUTH PLAIN ="], "501"),
        (["AUTH LOGIN", _b64("user"), _b64("secret")], "235"),
        ([f"AUTH LOGIN {_b64('user')}", _b64("secret")], "235"),
        (["AUTH LOGIN", _b64("user"), _b64("wrong")], "535"),
        ([f"AUTH XOAUTH2 {_xoauth2('secret')}"], "235"),
        (["AUTH XOAUTH2", _xoauth2("secret")], "235"),
        ([f"AUTH XOAUTH2 {_xoauth2('expired')}", ""], "535"),
        (["AUTH CRAM-MD5"], "504"),
    ],
)
async def test_mechanisms(lines: list[str], code: str) -> None:
    """Every line but the last is answered with 334, the last with the outcome."""
    async with ScriptedRelay(users=USERS, require_auth=True) as relay, greeted(relay) as client:
        *earlier, last = [await client.code(line) for line in lines]
        assert earlier == ["334"] * len(earlier)
        assert last == code
        assert await client.code("MAIL FROM:<>") == ("250" if code == "235" else "530")
        assert relay.ledger.sessions[0].authenticated_as == ("user" if code == "235" else None)


async def test_what_was_tried_is_known() -> None:
    """Every attempt to authenticate is on record with its secret, which no repr shows."""
    async with ScriptedRelay(users=USERS) as relay, greeted(relay) as client:
        await client.ask(f"AUTH XOAUTH2 {_xoauth2('expired')}")
        await client.ask("")
        for line in ("AUTH LOGIN", _b64("user"), _b64("secret")):
            await client.ask(line)
    record = relay.ledger.sessions[0]
    assert record.credentials == [
        Claim("XOAUTH2", "user", "expired", is_true=False),
        Claim("LOGIN", "user", "secret", is_true=True),
    ]
    assert "secret" not in repr(record) + repr(relay)


async def test_no_secret_is_legible() -> None:
    """Credentials appear in neither the commands nor the transcript of a session."""
    plain = _b64("\0user\0secret")
    async with ScriptedRelay(users=USERS) as relay, greeted(relay) as client:
        await client.ask(f"AUTH PLAIN {plain[:-4]}AAAA")
        await client.ask("AUTH PLAIN")
        await client.ask(plain)
    record = relay.ledger.sessions[0]
    assert record.commands[1:] == ["AUTH PLAIN ***", "AUTH PLAIN", "***"]
    assert plain[:8] not in record.transcript


async def test_auth_is_done_once_and_outside_transactions() -> None:
    """A second AUTH, or one between MAIL and the dot, is out of sequence."""
    async with ScriptedRelay(users=USERS) as relay, greeted(relay) as client:
        assert "250 AUTH PLAIN LOGIN XOAUTH2" in await client.ask("EHLO c")
        await client.ask("MAIL FROM:<>")
        assert await client.code("AUTH LOGIN") == "503"
        await client.ask("RSET")
        assert await client.code(f"AUTH PLAIN {_b64(chr(0) + 'user' + chr(0) + 'secret')}") == "235"
        assert await client.code("AUTH LOGIN") == "503"


async def test_the_script_decides_about_auth_too() -> None:
    """A scripted refusal keeps the client out, and the credentials line is a cue of its own."""
    script = Script()
    script.on("AUTH", occurrence=1).reply("454 4.7.0 temporary authentication failure")
    script.on("CREDENTIALS", occurrence=1).reply("535 5.7.8 no")
    async with (
        ScriptedRelay(script, users=USERS, require_auth=True) as relay,
        greeted(relay) as client,
    ):
        assert await client.code("AUTH PLAIN") == "454"
        assert await client.code("MAIL FROM:<>") == "530"
        assert await client.code("AUTH PLAIN") == "334"
        assert await client.code(_b64("\0user\0secret")) == "535"
        assert await client.code("MAIL FROM:<>") == "530"
        assert await client.code(f"AUTH PLAIN {_b64(chr(0) + 'user' + chr(0) + 'secret')}") == "235"
        assert await client.code("MAIL FROM:<>") == "250"
        assert relay.ledger.seen["CREDENTIALS"] == 1


def test_a_relay_that_nobody_can_use_is_a_mistake() -> None:
    """Demanding what cannot be had is refused when the relay is made."""
    with pytest.raises(ValueError, match="users"):
        ScriptedRelay(require_auth=True)
    with pytest.raises(ValueError, match="tls"):
        ScriptedRelay(implicit_tls=True)
    with pytest.raises(ValueError, match="tls"):
        ScriptedRelay(require_tls=True)
