from __future__ import annotations

import asyncio
import smtplib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.reply import NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome, Scope
from mailqueue.smtp import Transacted
from mailqueue.smtp.upload import ending, stuffed
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    CONTENT,
    ENVELOPE,
    code_of,
    content_of,
    dot_written,
    findings_of,
    kind_of,
    outcomes,
    session_with,
    stages,
    transact,
    verdicts,
)

pytestmark = pytest.mark.usefixtures("way")

MIB = 1024 * 1024
STUCK = content_of(15 * MIB)
"""More than any kernel buffers for a reader that has stopped."""

lines = st.lists(
    st.sampled_from([b"", b".", b"..", b"a", b".a", b"a.", b"\x00", b"caf\xc3\xa9"]), max_size=30
)


@given(lines, st.integers(min_value=1, max_value=9))
def test_stuffing_does_not_depend_on_the_blocks(text: list[bytes], size: int) -> None:
    """Cut at any place, the stuffed content is what the standard library makes of the whole."""
    raw = b"".join(line + b"\r\n" for line in text)
    expected = smtplib._quote_periods(raw)  # type: ignore[attr-defined]
    assert b"".join(stuffed(raw, size)) == expected


@given(lines, st.integers(min_value=1, max_value=9))
def test_the_dot_comes_once_and_last(text: list[bytes], size: int) -> None:
    """On the wire the final dot's line stands at the end and nowhere before it."""
    raw = b"".join(line + b"\r\n" for line in text)
    wire = b"\r\n" + b"".join(stuffed(raw, size)) + ending(raw)
    assert wire.index(b"\r\n.\r\n") == len(wire) - len(b"\r\n.\r\n")


def test_content_without_a_last_line_end() -> None:
    """The dot stands in a line of its own, whatever the content ends with."""
    assert ending(b"a") == b"\r\n.\r\n"
    assert ending(b"a\r\n") == b".\r\n"
    assert ending(b"") == b".\r\n"


@pytest.mark.parametrize("octets", [1, 65_536, 65_537, MIB, 20 * MIB])
async def test_content_of_any_size_arrives_as_it_was(relay: ScriptedRelay, octets: int) -> None:
    """What the relay un-stuffs is what was stored, byte by byte."""
    content = content_of(octets)
    session = await session_with(relay)
    assert set(outcomes(await findings_of(session, content=content))) == {Outcome.SENT}
    assert relay.ledger.accepted[0].content == content.raw
    session.abort()


async def test_a_slow_reader_is_waited_for(relay: ScriptedRelay, script: Script) -> None:
    """A relay that stops reading and goes on later gets the whole, and memory stays bounded."""
    goes_on = asyncio.Event()
    script.on("BODY").after(octets=10_000).wait_for(goes_on).raw(b"")
    session = await session_with(relay)
    sending = asyncio.create_task(findings_of(session, content=STUCK))
    await relay.saw("BODY")
    assert not dot_written(session)
    goes_on.set()
    assert set(outcomes(await sending)) == {Outcome.SENT}
    assert relay.ledger.accepted[0].content == STUCK.raw
    session.abort()


async def test_a_stalled_reader_times_out(relay: ScriptedRelay, script: Script) -> None:
    """A relay that takes no more within a block's time gets nothing, and certainly no dot."""
    script.on("BODY").silence()
    session = await session_with(relay, timeouts={"block": 0.3})
    findings = await findings_of(session, content=STUCK)
    assert set(outcomes(findings)) == {Outcome.DEFER}
    assert set(stages(findings)) == {Stage.DATA}
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.TIMEOUT}
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


@pytest.mark.parametrize(
    ("reply", "outcome"), [("552 5.3.4 too big", Outcome.FAIL), ("452 4.3.1 full", Outcome.DEFER)]
)
@pytest.mark.parametrize("pace", [None, 1])
async def test_a_reply_in_the_midst_of_the_content(
    relay: ScriptedRelay, script: Script, reply: str, outcome: Outcome, pace: int | None
) -> None:
    """A refusal before the dot counts, the dot stays unwritten and the session is dropped."""
    rule = script.on("BODY").after(octets=100_000).reply(reply)
    if pace is not None:
        rule.split_every(pace)
    rule.silence()
    session = await session_with(relay)
    findings = await findings_of(session, content=STUCK)
    assert {code_of(one.evidence) for one in findings} == {int(reply[:3])}
    assert set(stages(findings)) == {Stage.DATA}
    assert set(outcomes(findings)) == {outcome}
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_a_250_in_the_midst_of_the_content(relay: ScriptedRelay, script: Script) -> None:
    """A success before the dot is nonsense, not success."""
    script.on("BODY").after(octets=100_000).reply("250 2.0.0 thanks").silence()
    session = await session_with(relay)
    findings = await findings_of(session, content=STUCK)
    assert set(outcomes(findings)) == {Outcome.DEFER}
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


@pytest.mark.parametrize("fault", ["close", "reset", "half-close"])
async def test_lost_in_the_midst_of_the_content(
    relay: ScriptedRelay, script: Script, fault: str
) -> None:
    """A connection that ends before the dot leaves no doubt, however much was sent."""
    rule = script.on("BODY").after(octets=100_000)
    {"close": rule.close, "reset": rule.reset, "half-close": rule.half_close}[fault]()
    session = await session_with(relay)
    findings = await findings_of(session, content=STUCK)
    assert set(outcomes(findings)) == {Outcome.DEFER}
    assert {verdict.scope for verdict in verdicts(findings)} == {Scope.SESSION}
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.LOST}
    assert not dot_written(session)
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_cancelled_in_the_midst_of_the_content(relay: ScriptedRelay, script: Script) -> None:
    """Who cancels a large upload can be sure that the dot is not flushed behind his back."""
    script.on("BODY").silence()
    session = await session_with(relay)
    sending = asyncio.create_task(transact(session, ENVELOPE, STUCK))
    await relay.saw("BODY")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not dot_written(session)
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_cancelled_after_the_dot(relay: ScriptedRelay, script: Script) -> None:
    """Who cancels while the reply to the dot is awaited is told that there is doubt."""
    script.on(".").accept().silence()
    session = await session_with(relay)
    sending = asyncio.create_task(transact(session, ENVELOPE, CONTENT))
    await relay.saw(".")
    assert dot_written(session)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert dot_written(session)
    assert not session.is_usable
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_cancelled_before_the_content(
    relay: ScriptedRelay, script: Script, verb: str
) -> None:
    """Who cancels earlier is told that there is none, and the session is not used again."""
    script.on(verb).silence()
    session = await session_with(relay)
    sending = asyncio.create_task(transact(session, ENVELOPE, CONTENT))
    await relay.saw(verb)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not dot_written(session)
    assert not session.is_usable
    await relay.wait_sessions_closed()


# The last chance before the dot


@pytest.mark.parametrize("octets", [100, MIB])
async def test_asked_before_the_dot(relay: ScriptedRelay, script: Script, octets: int) -> None:
    """Before the dot is written somebody may look once more, and is told who was accepted."""
    script.on("RCPT", address=ENVELOPE.recipients[1]).reply("550 5.1.1 no such user")
    session = await session_with(relay)
    asked: list[tuple[int, ...]] = []

    async def look(accepted: tuple[int, ...]) -> bool:
        asked.append(accepted)
        assert relay.ledger.seen["."] == 0
        assert not dot_written(session)
        return True

    transacted = await transact(session, ENVELOPE, content_of(octets), before_dot=look)
    assert isinstance(transacted, Transacted)
    assert outcomes(transacted.findings) == [Outcome.SENT, Outcome.FAIL, Outcome.SENT]
    assert asked == [(0, 2)]
    session.abort()


@pytest.mark.parametrize("octets", [100, MIB])
async def test_stopped_before_the_dot(relay: ScriptedRelay, script: Script, octets: int) -> None:
    """A lease that has passed on stops the dot: put off without charge, and nothing was sent."""
    script.on("RCPT", address=ENVELOPE.recipients[1]).reply("550 5.1.1 no such user")
    session = await session_with(relay)

    async def refuse(accepted: tuple[int, ...]) -> bool:
        return False

    transacted = await transact(session, ENVELOPE, content_of(octets), before_dot=refuse)
    assert isinstance(transacted, Transacted)
    assert outcomes(transacted.findings) == [Outcome.DEFER, Outcome.FAIL, Outcome.DEFER]
    assert kind_of(transacted.findings[0].evidence) is NoReplyKind.ABANDONED
    assert not verdicts(transacted.findings)[0].charged
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_nobody_asks_without_recipients(relay: ScriptedRelay, script: Script) -> None:
    """Where nobody was accepted there is no dot to ask about."""
    script.on("RCPT").reply("550 5.1.1 no such user")
    session = await session_with(relay)

    async def never(accepted: tuple[int, ...]) -> bool:
        raise AssertionError("asked")

    assert await transact(session, ENVELOPE, CONTENT, before_dot=never) is not None
    session.abort()


async def test_the_question_itself_fails(relay: ScriptedRelay) -> None:
    """An error while looking is the asker's own; the dot stays unwritten, the session ends."""
    session = await session_with(relay)

    async def fail(accepted: tuple[int, ...]) -> bool:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        await transact(session, ENVELOPE, CONTENT, before_dot=fail)
    assert not session.is_usable
    assert not dot_written(session)
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_refused_while_somebody_looks(relay: ScriptedRelay, script: Script) -> None:
    """A reply that comes while the question is open counts, and the dot stays unwritten."""
    session = await session_with(relay)
    script.on("DATA").as_usual().delay(0.01).reply("451 4.3.0 changed my mind").half_close()

    async def look(accepted: tuple[int, ...]) -> bool:
        await relay.wait_sessions_closed()
        return True

    transacted = await transact(session, ENVELOPE, CONTENT, before_dot=look)
    assert isinstance(transacted, Transacted)
    assert {code_of(one.evidence) for one in transacted.findings} == {451}
    assert set(stages(transacted.findings)) == {Stage.DATA}
    assert relay.ledger.offered == []
