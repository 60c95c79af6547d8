from __future__ import annotations

import asyncio

import pytest

from mailqueue.clock import FakeClock
from mailqueue.mail.envelope import Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    ANN,
    BOB,
    CONTENT,
    ENVELOPE,
    code_of,
    dot_written,
    findings_of,
    interrupt,
    kind_of,
    outcomes,
    session_with,
    transact,
)

pytestmark = pytest.mark.usefixtures("way")

SENT = {Outcome.SENT}


async def test_one_session_carries_many_messages(relay: ScriptedRelay) -> None:
    """One connection serves one message after another, without RSET between those that went."""
    session = await session_with(relay)
    for _ in range(5):
        assert set(outcomes(await findings_of(session))) == SENT
    assert session.messages == 5
    assert len(relay.ledger.accepted) == 5
    assert len(relay.ledger.sessions) == 1
    assert relay.ledger.seen["RSET"] == 0
    await session.quit()


async def test_each_session_has_an_id(relay: ScriptedRelay) -> None:
    """Two sessions of one relay can be told apart in what is recorded of them."""
    clock = FakeClock()
    one = await session_with(relay, clock=clock)
    two = await session_with(relay, clock=clock)
    assert one.facts.id != two.facts.id
    one.abort()
    two.abort()


async def test_rset_clears_what_nobody_took(relay: ScriptedRelay, script: Script) -> None:
    """After a transaction without accepted recipients RSET goes before the next MAIL."""
    script.on("RCPT", transaction=1).reply("550 5.1.1 no such user")
    session = await session_with(relay)
    assert set(outcomes(await findings_of(session))) == {Outcome.FAIL}
    assert relay.ledger.seen["RSET"] == 0, "only when there is a next one"
    assert set(outcomes(await findings_of(session))) == SENT
    verbs = relay.ledger.sessions[0].verbs
    assert verbs[verbs.index("RSET") + 1] == "MAIL"
    assert relay.ledger.accepted[0].recipients == ENVELOPE.recipients
    session.abort()


async def test_rset_after_a_refused_data(relay: ScriptedRelay, script: Script) -> None:
    """A refusal of DATA leaves the envelope with the relay: RSET clears it."""
    script.on("DATA", transaction=1).reply("451 4.3.0 later")
    session = await session_with(relay)
    assert set(outcomes(await findings_of(session))) == {Outcome.DEFER}
    assert set(outcomes(await findings_of(session))) == SENT
    assert relay.ledger.seen["RSET"] == 1
    session.abort()


@pytest.mark.parametrize("verb", ["MAIL", "."])
async def test_no_rset_where_nothing_is_left(
    relay: ScriptedRelay, script: Script, verb: str
) -> None:
    """A refused MAIL begins nothing, and the final dot ends all, whatever the answer."""
    script.on(verb, transaction=1).reply("550 5.7.1 no")
    session = await session_with(relay)
    assert set(outcomes(await findings_of(session))) == {Outcome.FAIL}
    assert set(outcomes(await findings_of(session))) == SENT
    assert relay.ledger.seen["RSET"] == 0
    session.abort()


STALE = {
    "lost": lambda rule: rule.close(),
    "reset": lambda rule: rule.reset(),
    "421": lambda rule: rule.reply("421 4.4.2 idle too long").close(),
    "503": lambda rule: rule.reply("503 5.5.1 what is this"),
    "silent": lambda rule: rule.silence(),
    "garbage": lambda rule: rule.reply("what?"),
}


@pytest.mark.parametrize("fault", STALE)
async def test_a_stale_session_costs_no_attempt(
    relay: ScriptedRelay, script: Script, fault: str
) -> None:
    """Trouble with the first command on a used session says nothing of the message."""
    STALE[fault](script.on("MAIL", transaction=2))
    session = await session_with(relay, timeouts={"rset": 0.2})
    await findings_of(session)
    assert await transact(session, ENVELOPE, CONTENT) is None
    assert not session.is_usable
    assert len(relay.ledger.accepted) == 1
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("fault", [*STALE, "500"])
async def test_a_stale_session_at_rset(relay: ScriptedRelay, script: Script, fault: str) -> None:
    """Where RSET is the first command, it is the one that shows; any failure of it ends all."""
    script.on("RCPT").reply("550 5.1.1 no such user")
    rule = script.on("RSET")
    STALE.get(fault, lambda rule: rule.reply("500 5.5.1 no"))(rule)
    session = await session_with(relay, timeouts={"rset": 0.2})
    await findings_of(session)
    assert await transact(session, ENVELOPE, CONTENT) is None
    assert not session.is_usable
    await relay.wait_sessions_closed()


async def test_a_refusal_on_a_used_session_is_a_refusal(
    relay: ScriptedRelay, script: Script
) -> None:
    """Any other reply to the first command is about the message and is evidence."""
    script.on("MAIL", transaction=2).reply("550 5.7.1 not from you")
    session = await session_with(relay)
    await findings_of(session)
    assert set(outcomes(await findings_of(session))) == {Outcome.FAIL}
    assert session.is_usable
    session.abort()


async def test_later_trouble_on_a_used_session_counts(relay: ScriptedRelay, script: Script) -> None:
    """Once MAIL was answered the session was alive: what happens then is evidence."""
    script.on("RCPT", transaction=2).close()
    session = await session_with(relay)
    await findings_of(session)
    findings = await findings_of(session)
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.LOST}


async def test_trouble_on_a_fresh_session_counts(relay: ScriptedRelay, script: Script) -> None:
    """A session that was never used cannot be stale."""
    script.on("MAIL").reply("421 4.3.2 busy")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert {code_of(one.evidence) for one in findings} == {421}


async def test_a_session_that_has_rested_can_be_stale(relay: ScriptedRelay, script: Script) -> None:
    """One that was opened ahead and lay idle can be stale at its first message."""
    script.on("MAIL").reply("421 4.4.2 idle too long")
    session = await session_with(relay)
    session.rest()
    assert await transact(session, ENVELOPE, CONTENT) is None


@pytest.mark.parametrize("said", [b"421 4.4.2 idle\r\n", b"250 hello?\r\n", b"", b"\xff\r\n"])
async def test_ended_while_idle(relay: ScriptedRelay, script: Script, said: bytes) -> None:
    """What a relay says or does while a session lies idle ends it, and no message meets it."""
    go = asyncio.Event()
    script.on(".").as_usual().wait_for(go).raw(said).half_close()
    session = await session_with(relay)
    await findings_of(session)
    assert session.is_usable
    go.set()
    await relay.wait_sessions_closed()
    assert not session.is_usable
    assert await transact(session, ENVELOPE, CONTENT) is None


async def test_the_limit_of_messages(relay: ScriptedRelay) -> None:
    """After messages_per_session messages a session is used up."""
    session = await session_with(relay, messages_per_session=2)
    await findings_of(session)
    assert session.is_usable
    await findings_of(session)
    assert not session.is_usable
    await session.quit()
    await relay.wait_sessions_closed()
    assert relay.ledger.seen["QUIT"] == 1


async def test_the_limit_of_age(relay: ScriptedRelay) -> None:
    """After session_seconds a session is too old for another message."""
    clock = FakeClock()
    session = await session_with(relay, clock=clock, session_seconds=60)
    clock.advance(59.9)
    assert session.is_usable
    clock.advance(0.2)
    assert not session.is_usable
    session.abort()


async def test_recipients_do_not_leak(relay: ScriptedRelay, script: Script) -> None:
    """The recipients of one message never get the next one."""
    script.on("RCPT", address=ANN, transaction=1).reply("550 5.1.1 no")
    script.on("DATA", transaction=1).reply("451 4.3.0 later")
    session = await session_with(relay)
    await findings_of(session)
    await findings_of(session, Envelope("a@example.org", (BOB,)))
    [accepted] = relay.ledger.accepted
    assert accepted.recipients == (BOB,)
    session.abort()


SHUTDOWN = NoReply(NoReplyKind.ABANDONED, "shutdown")


@pytest.mark.parametrize(
    ("verb", "stage", "outcome"),
    [
        ("RCPT", Stage.DATA, Outcome.DEFER),
        ("DATA", Stage.DATA, Outcome.DEFER),
        (".", Stage.END_OF_DATA, Outcome.IN_DOUBT),
    ],
)
async def test_interrupted(
    relay: ScriptedRelay, script: Script, verb: str, stage: Stage, outcome: Outcome
) -> None:
    """Who is cut short keeps what the relay has answered, and knows what the rest may mean."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on(verb, occurrence=2 if verb == "RCPT" else None).silence()
    session = await session_with(relay)
    sending = asyncio.create_task(transact(session, ENVELOPE, CONTENT))
    await relay.saw(verb, 2 if verb == "RCPT" else 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    findings = interrupt(session, SHUTDOWN)
    assert outcomes(findings) == [Outcome.FAIL, outcome, outcome]
    assert [one.evidence for one in findings[1:]] == [Evidence(stage, SHUTDOWN)] * 2
    await relay.wait_sessions_closed()


async def test_a_message_to_nobody_does_not_begin(relay: ScriptedRelay) -> None:
    """What cannot be a transaction takes no place in the line."""
    session = await session_with(relay)
    await findings_of(session)
    with pytest.raises(ValueError, match="at least one recipient"):
        await transact(session, Envelope("a@example.org", ()), CONTENT)
    assert not dot_written(session)
    assert session.messages == 1
    session.abort()


@pytest.mark.parametrize("fault", ["silence", "close", "garbage", "usual"])
async def test_goodbye(relay: ScriptedRelay, script: Script, fault: str) -> None:
    """QUIT is said and its answer awaited shortly; whatever it is, the connection ends."""
    rule = script.on("QUIT")
    {
        "silence": rule.silence,
        "close": rule.close,
        "garbage": lambda: rule.reply("what?"),
        "usual": rule.as_usual,
    }[fault]()
    session = await session_with(relay, timeouts={"quit": 0.2})
    await session.quit()
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert rule.used == 1
    await session.quit()
    assert rule.used == 1, "saying it twice is harmless"
