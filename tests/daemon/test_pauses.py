"""The daemon's part that reads what operators have paused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailqueue import events
from mailqueue.daemon.pauses import Pauses
from mailqueue.operate import Operator
from tests.daemon.parts import Told, until
from tests.daemon.wiring import Wired
from tests.support.rows import NOW, SECOND


@pytest.fixture
def operator(wired: Wired) -> Operator:
    """Somebody named olga, with a clock of the daemon's."""
    return Operator(wired.path, actor="olga", clock=wired.clock, relays=["main", "theirs"])


@pytest.fixture
async def pauses(wired: Wired, told: Told) -> AsyncIterator[Pauses]:
    """The part, not started; it polls once a minute."""
    pauses = Pauses(wired.dispatcher, wired.database, clock=wired.clock, emit=told.append)
    yield pauses
    await pauses.stop()


def is_paused(wired: Wired) -> bool:
    """Return whether the routing lets nothing go to the relay."""
    return wired.routing.is_paused("main", now=wired.clock.now())


async def test_a_ring_is_enough(wired: Wired, pauses: Pauses, operator: Operator) -> None:
    """After a commit and a ring the pause holds, and after another it is over."""
    pauses.start()
    operator.pause("main")
    pauses.wake.ring()
    await until(lambda: is_paused(wired))
    operator.resume("main")
    pauses.wake.ring()
    await until(lambda: not is_paused(wired))


async def test_it_says_once_what_began_and_ended(
    pauses: Pauses, operator: Operator, told: Told
) -> None:
    """Each change is an event; a look that finds nothing new is none."""
    operator.pause("main", reason="new address")
    for _ in range(2):
        await pauses.look()
    operator.resume("main")
    for _ in range(2):
        await pauses.look()
    assert told == [
        events.PauseBegun("main", "olga", "new address", None),
        events.PauseEnded("main"),
    ]


async def test_relays_of_other_daemons_are_not_told(
    pauses: Pauses, operator: Operator, told: Told
) -> None:
    """A pause of a relay that is not configured here is kept, and is no news."""
    operator.pause("theirs")
    await pauses.look()
    assert told == []


async def test_what_was_read_holds_while_the_outbox_cannot_be_read(
    wired: Wired, pauses: Pauses, operator: Operator
) -> None:
    """Nobody resumes a relay by breaking the database."""
    operator.pause("main")
    await pauses.look()
    hidden = wired.path.with_name("hidden")
    await wired.database._reader.dispose()
    wired.path.rename(hidden)
    operator.close()
    await pauses.look()
    hidden.rename(wired.path)
    assert is_paused(wired)


async def test_the_dispatcher_is_woken_when_a_pause_ends(
    wired: Wired, pauses: Pauses, operator: Operator, told: Told
) -> None:
    """At its end the mail goes, though nobody rings."""
    decided = operator.pause("main")
    await pauses.look()
    assert await wired.dispatcher.wake.wait(0)
    operator.resume("main")
    assert decided.until is None
    await pauses.look()
    assert await wired.dispatcher.wake.wait(0)
    assert len(told) == 2


@pytest.mark.parametrize(("until_", "seconds"), [(None, 60.0), (NOW + 3 * SECOND, 3.0)])
async def test_it_looks_again_when_the_first_pause_ends(
    wired: Wired, pauses: Pauses, operator: Operator, until_: int | None, seconds: float
) -> None:
    """It waits for the poll, or for the end of a pause where that is nearer."""
    from datetime import timedelta

    lasting = None if until_ is None else timedelta(microseconds=until_ - NOW)
    operator.pause("main", lasting=lasting)
    await pauses.look()
    assert pauses._until_next() == seconds
    wired.clock.advance(3)
    assert is_paused(wired) is (until_ is None)
