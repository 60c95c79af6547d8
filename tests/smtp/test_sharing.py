"""Who is lent which session, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mailqueue.clock import FakeClock
from mailqueue.events import Event, PipeliningSuspended
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind
from mailqueue.mail.verdict import Outcome
from mailqueue.smtp import Pool, Relay, Session
from mailqueue.smtp.pool import OVERTAKEN_SECONDS
from mailqueue.smtp.trust import SECONDS, TROUBLES
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import CONTENT, ENVELOPE, Keys, findings_of, outcomes, settings_for

PATIENCE = 10
SENT = {Outcome.SENT}
SHUTDOWN = NoReply(NoReplyKind.ABANDONED, "shutdown")

MakePool = Callable[..., Pool]


@pytest.fixture
def told() -> list[Event]:
    """What a pool has told."""
    return []


@pytest.fixture
async def make_pool(relay: ScriptedRelay, told: list[Event]) -> AsyncIterator[Callable[..., Pool]]:
    """A function that makes a pool of sessions with the relay."""
    pools: list[Pool] = []

    def make(clock: FakeClock | None = None, **keys: Keys) -> Pool:
        settings = settings_for(relay, **({"timeouts": {"quit": 0.5}} | keys))
        pools.append(Pool(Relay(settings), clock=clock or FakeClock(), emit=told.append))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def borrowed(pool: Pool, *, fresh: bool = False) -> Session:
    """Borrow a session that must come about."""
    async with asyncio.timeout(PATIENCE):
        session = await pool.borrow(fresh=fresh)
    assert isinstance(session, Session), session
    return session


async def waiting(pool: Pool, count: int = 1) -> list[asyncio.Task[Session]]:
    """Let so many ask for a session there is no place on, one after the other."""
    before = pool.waiting
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(borrowed(pool)))
        await asyncio.sleep(0)
    assert pool.waiting == before + count
    return tasks


async def test_idle_then_new_then_busy(make_pool: MakePool, relay: ScriptedRelay) -> None:
    """An idle session goes first, then a new one as long as there may be one, then the place
    behind somebody who is under way.
    """
    pool = make_pool(connections=2)
    one, two = await borrowed(pool), await borrowed(pool)
    pool.give_back(two)
    assert await borrowed(pool) is two, "idle"
    behind_one, behind_two = await borrowed(pool), await borrowed(pool)
    assert {behind_one, behind_two} == {one, two}
    assert len(relay.ledger.sessions) == 2
    [last] = await waiting(pool)
    pool.give_back(one)
    assert await last is one
    for session in (one, one, two, two):
        pool.give_back(session)
    assert pool.idle == 2


async def test_step_by_step_nobody_stands_behind_another(make_pool: MakePool) -> None:
    """Where commands do not go in groups a session is lent once."""
    pool = make_pool(connections=1, pipelining=False)
    session = await borrowed(pool)
    assert not session.is_pipelined
    [other] = await waiting(pool)
    pool.give_back(session)
    assert await other is session
    pool.give_back(session)


async def test_first_come_first_served(make_pool: MakePool) -> None:
    """Whoever has waited longest is next, and one who gives up is passed over."""
    pool = make_pool(connections=1, pipelining=False)
    session = await borrowed(pool)
    first, second, third = await waiting(pool, 3)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert pool.waiting == 2
    pool.give_back(session)
    assert await first is session
    assert not third.done()
    pool.give_back(session)
    assert await third is session
    pool.give_back(session)


@pytest.mark.parametrize("pipelining", [True, False])
async def test_who_waits_is_overtaken_for_a_moment_only(
    make_pool: MakePool, pipelining: bool
) -> None:
    """Those who send one message after the other keep the place for so long, and no longer."""
    clock = FakeClock()
    pool = make_pool(clock, connections=1, pipelining=pipelining)
    session = await borrowed(pool)
    if pipelining:
        assert await borrowed(pool) is session
    first, second = await waiting(pool, 2)
    clock.advance(OVERTAKEN_SECONDS / 2)
    pool.give_back(session)
    assert await pool.borrow() is session
    await asyncio.sleep(0)
    assert pool.waiting == 2
    clock.advance(OVERTAKEN_SECONDS / 2)
    (third,) = await waiting(pool)
    pool.give_back(session)
    assert await first is session
    # Now it is counted anew: the next one can be overtaken again, for as long.
    pool.give_back(session)
    assert await pool.borrow() is session
    clock.advance(OVERTAKEN_SECONDS)
    pool.give_back(session)
    assert await second is session
    third.cancel()


async def test_cancelled_just_as_its_turn_comes(make_pool: MakePool) -> None:
    """A place that was given to somebody who is gone goes to the next."""
    pool = make_pool(connections=1, pipelining=False)
    session = await borrowed(pool)
    first, second = await waiting(pool, 2)
    pool.give_back(session)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(PATIENCE):
        assert await second is session
    pool.give_back(session)
    assert pool.idle == 1


async def test_many_are_cancelled_at_once(make_pool: MakePool) -> None:
    """As at a shutdown: a place that is freed meanwhile passes over those who are gone."""
    pool = make_pool(connections=1, pipelining=False)
    session = await borrowed(pool)
    *gone, last = await waiting(pool, 4)
    for one in gone:
        one.cancel()
    pool.give_back(session)
    assert await last is session
    await asyncio.wait(gone)
    assert all(one.cancelled() for one in gone)
    pool.give_back(session)
    assert (pool.idle, pool.waiting) == (1, 0)


async def test_cancelled_while_a_session_is_opened(
    make_pool: MakePool, relay: ScriptedRelay, script: Script
) -> None:
    """The connection that nobody waits for any more does not count."""
    pool = make_pool(connections=1)
    rule = script.on("CONNECT", session=1).silence()
    opening = asyncio.create_task(pool.borrow())
    await relay.saw("CONNECT")
    [other] = await waiting(pool)
    # A cancellation that comes with the connection itself is lost in `asyncio.wait_for` (3.11).
    for _ in range(20):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    session = await other
    assert rule.used == 1
    pool.give_back(session)


async def test_a_refused_connection_makes_room_for_the_next_try(
    make_pool: MakePool, script: Script
) -> None:
    """Whoever waits tries for himself, and each gets the evidence."""
    pool = make_pool(connections=1)
    script.on("CONNECT").reply("554 5.3.2 no service")
    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(*(pool.borrow() for _ in range(5)))
    assert all(isinstance(one, Evidence) for one in found)


@pytest.mark.parametrize("verdict", [False, True])
async def test_asked_when_its_turn_has_come(
    make_pool: MakePool, relay: ScriptedRelay, verdict: bool
) -> None:
    """Whether it may begin is asked before anything is opened, and not before its turn."""
    pool = make_pool(connections=1, pipelining=False)
    asked: list[bool] = []

    async def may_begin() -> bool:
        asked.append(True)
        return verdict

    session = await borrowed(pool)
    other = asyncio.create_task(pool.borrow(may_begin=may_begin))
    await asyncio.sleep(0)
    assert asked == []
    session.abort()
    pool.give_back(session)
    async with asyncio.timeout(PATIENCE):
        found = await other
    assert asked == [True]
    assert (found is not None) == verdict
    assert len(relay.ledger.sessions) == 1 + verdict
    if isinstance(found, Session):
        pool.give_back(found)
    pool.give_back(await borrowed(pool))


async def test_a_fresh_one_at_the_limit(make_pool: MakePool, relay: ScriptedRelay) -> None:
    """Who has met a stale session gets a new one: an idle one, stale too perhaps, makes room."""
    pool = make_pool(connections=2)
    one, two = await borrowed(pool), await borrowed(pool)
    pool.give_back(one)
    two.abort()
    pool.give_back(two)
    three = await borrowed(pool)
    assert three is one
    pool.give_back(three)
    pool.give_back(await borrowed(pool, fresh=True))
    four = await borrowed(pool, fresh=True)
    assert four not in (one, two)
    await relay.until(lambda: len(relay.ledger.open_sessions) == 2)
    pool.give_back(four)


async def test_no_more_messages_than_a_session_may_carry(make_pool: MakePool) -> None:
    """A place behind somebody counts, also before the message has begun."""
    pool = make_pool(connections=2, messages_per_session=1)
    one, two = await borrowed(pool), await borrowed(pool)
    assert one is not two
    [other] = await waiting(pool)
    await findings_of(one)
    pool.give_back(one)
    three = await other
    assert three not in (one, two)
    for session in (two, three):
        await findings_of(session)
        assert session.messages == 1
        pool.give_back(session)


async def test_who_leaves_the_line_does_not_end_the_session_of_the_first(
    make_pool: MakePool, relay: ScriptedRelay, script: Script
) -> None:
    """Given back by one, a session still waits for the reply to the other's final dot."""
    go_on = asyncio.Event()
    script.on(".", transaction=1).wait_for(go_on)
    pool = make_pool(connections=1)
    session = await borrowed(pool)
    first = asyncio.create_task(session.begin(ENVELOPE, CONTENT).run())
    await relay.saw(".")
    assert await borrowed(pool) is session
    follower = session.begin(ENVELOPE, CONTENT)
    second = asyncio.create_task(follower.run())
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    follower.interrupt(SHUTDOWN)
    pool.give_back(session)
    assert not session.is_usable
    assert session.is_connected
    [other] = await waiting(pool)
    go_on.set()
    transacted = await first
    assert transacted is not None
    assert set(outcomes(transacted.findings)) == SENT
    pool.give_back(session)
    assert await other is not session
    pool.give_back(await other)


async def test_a_lost_session_makes_room_at_once(make_pool: MakePool, script: Script) -> None:
    """Both who shared it give it back, and only the first time counts."""
    script.on(".", session=1).close()
    pool = make_pool(connections=1)
    session = await borrowed(pool)
    assert await borrowed(pool) is session
    first, second = (session.begin(ENVELOPE, CONTENT).run() for _ in range(2))
    async with asyncio.timeout(PATIENCE):
        one, two = await asyncio.gather(first, second)
    assert one is not None
    assert set(outcomes(one.findings)) == {Outcome.IN_DOUBT}
    assert two is None
    pool.give_back(session)
    fresh = await borrowed(pool, fresh=True)
    assert fresh is not session
    pool.give_back(session)
    assert set(outcomes(await findings_of(fresh))) == SENT
    pool.give_back(fresh)
    assert pool.idle == 1


async def shares(pool: Pool, count: int, run: Callable[[Session], Awaitable[object]]) -> None:
    """Let so many messages go through the pool at once."""

    async def one() -> None:
        session = await borrowed(pool)
        try:
            await run(session)
        finally:
            pool.give_back(session)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(one() for _ in range(count)))


async def test_many_messages_over_few_sessions(make_pool: MakePool, relay: ScriptedRelay) -> None:
    """However many there are, no more sessions are open than configured, and all are sent."""
    pool = make_pool(connections=3)
    await shares(pool, 100, findings_of)
    assert len(relay.ledger.accepted) == 100
    assert len(relay.ledger.sessions) == 3
    assert pool.idle == 3


NONSENSE = b"250 ok\r\n250 spare\r\n"


async def test_a_relay_that_cannot_do_it_is_driven_step_by_step(
    make_pool: MakePool, script: Script, told: list[Event]
) -> None:
    """After three sessions in a row that came to grief over a group, for an hour; then anew."""
    clock = FakeClock()
    pool = make_pool(clock, connections=1)
    script.on("MAIL").times(TROUBLES).raw(NONSENSE)
    for _ in range(TROUBLES):
        assert told == []
        session = await borrowed(pool)
        assert session.is_pipelined
        await findings_of(session)
        pool.give_back(session)
    assert told == [PipeliningSuspended("test", SECONDS)]
    session = await borrowed(pool)
    assert not session.is_pipelined
    assert set(outcomes(await findings_of(session))) == SENT
    session.abort()
    pool.give_back(session)
    clock.advance(SECONDS)
    session = await borrowed(pool)
    assert session.is_pipelined
    pool.give_back(session)


async def test_who_waits_can_be_sent_away(make_pool: MakePool) -> None:
    """Where nothing may begin any more nobody is kept waiting; who has a place keeps it."""
    pool = make_pool(connections=1, pipelining=False)
    session = await borrowed(pool)
    for end in (pool.send_away, pool.close):
        tasks = [asyncio.create_task(pool.borrow()) for _ in range(3)]
        for _ in tasks:
            await asyncio.sleep(0)
        assert pool.waiting == len(tasks)
        if (ending := end()) is not None:
            await ending
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*tasks) == [None] * 3
    assert session.is_connected
    pool.give_back(session)


async def test_a_smaller_limit_ends_what_is_idle_now_and_the_rest_as_it_comes_back(
    make_pool: MakePool, relay: ScriptedRelay
) -> None:
    """Nobody is interrupted; until they are closed all of them count as connected."""
    pool = make_pool(connections=3)
    one, two, three = [await borrowed(pool) for _ in range(3)]
    pool.give_back(three)
    pool.resize(1)
    assert (pool.idle, pool.connected) == (0, 3)
    await relay.saw("QUIT", 1)
    pool.give_back(two)
    await relay.saw("QUIT", 2)
    await relay.until(lambda: len(relay.sessions) == 1)
    pool.give_back(one)
    async with asyncio.timeout(PATIENCE):
        while pool.connected > 1:  # noqa: ASYNC110 - the last goodbye is heard at any time
            await asyncio.sleep(0)
    assert pool.idle == 1
    assert await borrowed(pool) is one
    pool.give_back(one)


async def test_nobody_stands_behind_another_while_there_are_too_many(
    make_pool: MakePool, relay: ScriptedRelay
) -> None:
    """A session that always has another message behind the one under way would never end."""
    pool = make_pool(connections=2)
    one, two = await borrowed(pool), await borrowed(pool)
    pool.resize(1)
    [last] = await waiting(pool)
    pool.give_back(one)
    assert await last is two
    for _ in range(2):
        pool.give_back(two)
    await relay.saw("QUIT")


async def test_a_larger_limit_serves_who_waits(make_pool: MakePool) -> None:
    """With no place at all everybody waits, and goes on when there is one."""
    pool = make_pool(connections=2)
    pool.resize(0)
    first, second = await waiting(pool, 2)
    pool.resize(2)
    one, two = await first, await second
    assert one is not two
    pool.give_back(one)
    pool.give_back(two)


async def test_a_session_that_says_goodbye_counts_for_a_moment(
    make_pool: MakePool, script: Script, relay: ScriptedRelay
) -> None:
    """The relay never sees one too many; one that does not answer QUIT holds nobody up for long."""
    script.on("QUIT").silence()
    pool = make_pool(connections=1, messages_per_session=1, timeouts={"quit": 5})
    used = await borrowed(pool)
    await findings_of(used)
    pool.give_back(used)
    [after] = await waiting(pool)
    session = await after
    assert session is not used
    assert pool.connected == 2
    session.abort()
    pool.give_back(session)
    pool.abort()
