from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailqueue.clock import FakeClock
from mailqueue.mail.reply import Evidence
from mailqueue.mail.stage import Stage
from mailqueue.smtp import Pool, Relay, Session
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    CONTENT,
    ENVELOPE,
    code_of,
    findings_of,
    settings_for,
    transact,
)

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def clock() -> FakeClock:
    """The time by which sessions grow old."""
    return FakeClock()


@pytest.fixture
async def pool(relay: ScriptedRelay, clock: FakeClock) -> AsyncIterator[Pool]:
    """A pool of sessions with the relay: 30 s idle, 300 s old, 3 messages each."""
    settings = settings_for(
        relay, idle_seconds=30, session_seconds=300, messages_per_session=3, timeouts={"quit": 0.5}
    )
    pool = Pool(Relay(settings), clock=clock)
    yield pool
    await pool.close()
    await relay.wait_sessions_closed()


async def borrowed(pool: Pool, *, fresh: bool = False) -> Session:
    """Borrow a session that must come about."""
    session = await pool.borrow(fresh=fresh)
    assert isinstance(session, Session), session
    return session


async def test_a_session_is_used_again(pool: Pool, relay: ScriptedRelay) -> None:
    """What was given back in order is handed out again, without another connection."""
    first = await borrowed(pool)
    await findings_of(first)
    pool.give_back(first)
    assert pool.idle == 1
    again = await borrowed(pool)
    assert again is first
    assert pool.idle == 0
    pool.give_back(again)


async def test_the_last_one_back_is_the_first_one_out(pool: Pool) -> None:
    """Few sessions are used much, so that the others grow idle and end."""
    one, two = await borrowed(pool), await borrowed(pool)
    pool.give_back(one)
    pool.give_back(two)
    assert await borrowed(pool) is two
    assert await borrowed(pool) is one
    one.abort()
    two.abort()


async def test_many_borrow_at_once(pool: Pool, relay: ScriptedRelay) -> None:
    """Everybody gets a session of his own."""
    sessions = await asyncio.gather(*(borrowed(pool) for _ in range(8)))
    assert len(set(sessions)) == 8
    assert len(relay.ledger.open_sessions) == 8
    for session in sessions:
        pool.give_back(session)
    assert pool.idle == 8


async def test_why_there_is_none(pool: Pool, script: Script) -> None:
    """Where no session can be opened the evidence comes instead."""
    script.on("CONNECT").reply("421 4.3.2 too busy")
    evidence = await pool.borrow()
    assert isinstance(evidence, Evidence)
    assert (evidence.stage, code_of(evidence)) == (Stage.GREETING, 421)


async def test_a_fresh_one_on_demand(pool: Pool) -> None:
    """Who has just met a stale session may ask for one that nobody used, whatever lies idle."""
    one = await borrowed(pool)
    pool.give_back(one)
    other = await borrowed(pool, fresh=True)
    assert other is not one
    assert pool.idle == 1
    pool.give_back(other)


async def test_a_session_ended_while_idle_is_not_handed_out(
    pool: Pool, relay: ScriptedRelay, script: Script
) -> None:
    """A 421 to an idle session costs nobody anything: another one is opened."""
    go = asyncio.Event()
    script.on(".", session=1).as_usual().wait_for(go).reply("421 4.4.2 idle").half_close()
    session = await borrowed(pool)
    await findings_of(session)
    pool.give_back(session)
    go.set()
    await relay.wait_sessions_closed()
    other = await borrowed(pool)
    assert other is not session
    await findings_of(other)
    assert len(relay.ledger.accepted) == 2
    pool.give_back(other)


async def test_trouble_ends_a_session(pool: Pool, relay: ScriptedRelay, script: Script) -> None:
    """A session that met trouble is not kept."""
    script.on("RCPT").reply("421 4.3.2 closing")
    session = await borrowed(pool)
    await findings_of(session)
    pool.give_back(session)
    assert pool.idle == 0
    await relay.wait_sessions_closed()


async def test_a_used_up_session_says_goodbye(pool: Pool, relay: ScriptedRelay) -> None:
    """After its last message a session is ended with QUIT, and nobody waits for it."""
    session = await borrowed(pool)
    for _ in range(3):
        await findings_of(session)
    pool.give_back(session)
    assert pool.idle == 0
    await relay.saw("QUIT")
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("seconds", [30, 301])
async def test_idle_or_old_sessions_are_not_handed_out(
    pool: Pool, clock: FakeClock, relay: ScriptedRelay, seconds: float
) -> None:
    """Idle for too long, or too old: it is ended and another one opened."""
    session = await borrowed(pool)
    pool.give_back(session)
    clock.advance(seconds)
    other = await borrowed(pool)
    assert other is not session
    await relay.saw("QUIT")
    pool.give_back(other)


async def test_trimming(pool: Pool, clock: FakeClock, relay: ScriptedRelay) -> None:
    """Trimming ends those that lie idle for too long and leaves the others."""
    old, new = await borrowed(pool), await borrowed(pool)
    pool.give_back(old)
    clock.advance(20)
    pool.give_back(new)
    clock.advance(15)
    await pool.trim()
    assert pool.idle == 1
    await relay.until(lambda: len(relay.ledger.open_sessions) == 1)
    assert await borrowed(pool) is new
    new.abort()


async def test_closing(pool: Pool, relay: ScriptedRelay) -> None:
    """A closed pool has said QUIT on all that lay idle, and does so on what comes back."""
    lent, idle = await borrowed(pool), await borrowed(pool)
    pool.give_back(idle)
    await pool.close()
    assert relay.ledger.seen["QUIT"] == 1
    pool.give_back(lent)
    assert pool.idle == 0
    await pool.close()
    assert relay.ledger.seen["QUIT"] == 2
    await relay.wait_sessions_closed()


async def test_closing_does_not_wait_for_ever(
    pool: Pool, relay: ScriptedRelay, script: Script
) -> None:
    """A relay that does not answer QUIT holds nobody up for longer than its timeout."""
    script.on("QUIT").silence()
    sessions = [await borrowed(pool) for _ in range(5)]
    for session in sessions:
        pool.give_back(session)
    async with asyncio.timeout(2):
        await pool.close()
    assert relay.ledger.seen["QUIT"] == 5, "all at once"


async def test_aborting(pool: Pool, relay: ScriptedRelay, script: Script) -> None:
    """Aborting ends all at once, those that are saying goodbye included."""
    script.on("QUIT").silence()
    used, idle = await borrowed(pool), await borrowed(pool)
    for _ in range(3):
        await transact(used, ENVELOPE, CONTENT)
    pool.give_back(used)
    pool.give_back(idle)
    await relay.saw("QUIT")
    pool.abort()
    assert pool.idle == 0
    await relay.wait_sessions_closed()
    assert relay.ledger.seen["QUIT"] == 1
