from __future__ import annotations

import base64
from pathlib import Path

import pytest

from mailqueue.mail.reply import Evidence, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Scope, judge
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    Keys,
    code_of,
    findings_of,
    kind_of,
    outcomes,
    refusal_of,
    session_with,
)

MECHANISMS = ["plain", "login", "xoauth2"]


class Watcher:
    """Keeps all that a transcript is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def sent(self, line: str) -> None:
        self.lines.append(line)

    def received(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def keys(ca_file: str) -> dict[str, Keys]:
    """What leads to the relay with TLS as its one user."""
    return {"tls": "starttls", "ca_file": ca_file, "username": "user", "password": "secret"}


def is_the_relays_trouble(evidence: Evidence) -> bool:
    """Whether no mail pays for it and the relay is paused."""
    verdict = judge(evidence)
    return verdict.scope is Scope.RELAY and verdict.pauses_relay and not verdict.charged


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_each_mechanism_logs_in(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], mechanism: str
) -> None:
    """PLAIN, LOGIN and XOAUTH2 each log in by themselves, in one AUTH."""
    tls_relay.mechanisms = (mechanism.upper(),)
    session = await session_with(tls_relay, auth=mechanism, **keys)
    assert tls_relay.ledger.sessions[0].authenticated_as == "user"
    assert tls_relay.ledger.seen["AUTH"] == 1
    assert set(outcomes(await findings_of(session))) == {"sent"}
    session.abort()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_wrong_password_is_tried_once(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], mechanism: str
) -> None:
    """A refused login is not tried by other mechanisms: each would count as a wrong password."""
    evidence = await refusal_of(tls_relay, auth=mechanism, **keys | {"password": "wrong"})
    assert (evidence.stage, code_of(evidence)) == (Stage.AUTH, 535)
    assert evidence.command == f"AUTH {mechanism.upper()} ***"
    assert is_the_relays_trouble(evidence)
    await tls_relay.wait_sessions_closed()
    assert tls_relay.ledger.seen["AUTH"] == 1
    assert tls_relay.ledger.seen["MAIL"] == 0


@pytest.mark.parametrize("reply", ["454 4.7.0 later", "534 5.7.9 web login", "421 4.7.0 bye"])
async def test_other_refusals(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys], reply: str
) -> None:
    """Any reply to AUTH but a 2xx is kept as it is, and no mail fails for it."""
    script.on("AUTH").reply(reply)
    evidence = await refusal_of(tls_relay, **keys)
    assert (evidence.stage, code_of(evidence)) == (Stage.AUTH, int(reply[:3]))
    assert is_the_relays_trouble(evidence)


async def test_any_2xx_is_a_login(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys]
) -> None:
    """The first digit decides: 235 is usual and not required (RFC 5321 section 4.2)."""
    script.on("AUTH").reply("250 ok")
    session = await session_with(tls_relay, **keys)
    assert session.is_usable
    session.abort()


@pytest.mark.parametrize("mechanisms", [(), ("LOGIN", "CRAM-MD5")])
async def test_a_mechanism_that_is_not_offered(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], mechanisms: tuple[str, ...]
) -> None:
    """The configured mechanism is used or none; no other gets to see the password."""
    tls_relay.mechanisms = mechanisms
    evidence = await refusal_of(tls_relay, auth="plain", **keys)
    assert (evidence.stage, kind_of(evidence)) == (Stage.AUTH, NoReplyKind.UNSUPPORTED)
    assert "not PLAIN" in str(evidence.answer)
    assert is_the_relays_trouble(evidence)
    await tls_relay.wait_sessions_closed()
    assert tls_relay.ledger.seen["AUTH"] == 0


async def test_a_relay_without_auth(tls_relay: ScriptedRelay, keys: dict[str, Keys]) -> None:
    """Credentials for a relay that offers no AUTH are trouble with the relay, by name."""
    tls_relay.users = {}
    evidence = await refusal_of(tls_relay, **keys)
    assert kind_of(evidence) is NoReplyKind.UNSUPPORTED
    assert "no AUTH" in str(evidence.answer)


async def test_no_credentials_no_auth(tls_relay: ScriptedRelay, ca_file: str) -> None:
    """Without credentials a relay that offers AUTH is used without it."""
    session = await session_with(tls_relay, tls="starttls", ca_file=ca_file)
    assert tls_relay.ledger.seen["AUTH"] == 0
    session.abort()


async def test_in_the_clear_to_this_machine(script: Script) -> None:
    """On the loopback AUTH goes without TLS, which protects nothing there."""
    async with ScriptedRelay(script, users={"user": "secret"}) as relay:
        session = await session_with(relay, tls="none", username="user", password="secret")
        assert relay.ledger.sessions[0].authenticated_as == "user"
        session.abort()


async def test_the_challenge_of_xoauth2_is_answered(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys]
) -> None:
    """A refused token is explained in a challenge; the reply comes after an empty line."""
    script.on("AUTH").reply("334 eyJzdGF0dXMiOiI0MDAifQ==")
    script.on("CREDENTIALS").reply("535 5.7.8 token expired")
    evidence = await refusal_of(tls_relay, auth="xoauth2", **keys)
    assert code_of(evidence) == 535
    assert "token expired" in str(evidence.answer)
    assert tls_relay.ledger.seen["CREDENTIALS"] == 1


async def test_login_stops_at_a_refused_name(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys]
) -> None:
    """LOGIN does not send the password to who has refused the name."""
    script.on("CREDENTIALS").reply("501 5.5.2 who?")
    evidence = await refusal_of(tls_relay, auth="login", **keys)
    assert code_of(evidence) == 501
    assert tls_relay.ledger.seen["CREDENTIALS"] == 1


async def test_an_endless_dialogue(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys]
) -> None:
    """A challenge where a result is due ends the dialogue; none is answered for ever."""
    script.on("AUTH").reply("334 more")
    evidence = await refusal_of(tls_relay, auth="plain", **keys)
    assert (evidence.stage, code_of(evidence)) == (Stage.AUTH, 334)
    assert is_the_relays_trouble(evidence)


PASSWORD = "correct-horse-battery"
TOKENS = {
    mechanism: base64.b64encode(text.encode()).decode()
    for mechanism, text in {
        "plain": f"\0user\0{PASSWORD}",
        "login": PASSWORD,
        "xoauth2": f"user=user\x01auth=Bearer {PASSWORD}\x01\x01",
    }.items()
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_the_transcript_shows_no_secret(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], mechanism: str
) -> None:
    """Who watches the conversation sees that there was an AUTH, and not what was said in it."""
    tls_relay.users = {"user": PASSWORD}
    watcher = Watcher()
    session = await session_with(
        tls_relay, transcript=watcher, **keys | {"password": PASSWORD, "auth": mechanism}
    )
    session.abort()
    shown = "\n".join(watcher.lines)
    assert f"AUTH {mechanism.upper()}" in shown
    assert "***" in shown
    assert PASSWORD not in shown
    assert TOKENS[mechanism] not in shown


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_no_echo_of_a_secret_is_kept(
    tls_relay: ScriptedRelay, script: Script, keys: dict[str, Keys], mechanism: str
) -> None:
    """A relay that repeats the credentials in its refusal does not get them into the evidence."""
    alone = base64.b64encode(PASSWORD.encode()).decode()
    said = f"you said {PASSWORD} and {TOKENS[mechanism]} and {alone}"
    rule = script.on("CREDENTIALS", occurrence=2) if mechanism == "login" else script.on("AUTH")
    rule.reply(f"535-5.7.8 {said}", f"535 5.7.8 {said}")
    watcher = Watcher()
    keys |= {"password": PASSWORD, "auth": mechanism}
    evidence = await refusal_of(tls_relay, transcript=watcher, **keys)
    shown = "\n".join([*watcher.lines, repr(evidence)])
    assert "you said *** and *** and ***" in shown
    assert PASSWORD not in shown
    assert alone not in shown
    assert TOKENS[mechanism] not in shown


async def test_a_refreshed_token_is_used(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], tmp_path: Path
) -> None:
    """The secret is read at each connection, so that a token may change under way."""
    file = tmp_path / "token"
    file.write_text("stale")
    keys |= {"password": None, "password_file": str(file), "auth": "xoauth2"}
    assert code_of(await refusal_of(tls_relay, **keys)) == 535
    file.write_text("secret\n")
    session = await session_with(tls_relay, **keys)
    assert tls_relay.ledger.sessions[-1].authenticated_as == "user"
    session.abort()


async def test_an_unreadable_password_file(
    tls_relay: ScriptedRelay, keys: dict[str, Keys], tmp_path: Path
) -> None:
    """A password file that has gone is our own fault, and says which key."""
    keys |= {"password": None, "password_file": str(tmp_path / "gone")}
    evidence = await refusal_of(tls_relay, **keys)
    assert (evidence.stage, kind_of(evidence)) == (Stage.AUTH, NoReplyKind.LOCAL)
    assert "relays.test.password_file" in str(evidence.answer)
    assert tls_relay.ledger.seen["AUTH"] == 0
