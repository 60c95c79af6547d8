"""Moments that a seed meets rarely, led up to on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailqueue.mail.doubt import OnDoubt
from tests.simulation.mood import CLOSE, TAKE_AND, Mood
from tests.simulation.pace import HOUR, Pace
from tests.simulation.process import DaemonProcess
from tests.simulation.settling import settle
from tests.simulation.world import World

_PACE = Pace(
    troubles=0.0,
    mails=0,
    daemons=2,
    lease=240.0,
    backoff=30.0,
    longest_backoff=300.0,
    give_up=10 * HOUR,
    connections=1,
    timeouts=dict.fromkeys(("mail", "rcpt", "data", "rset"), 1000.0),
)
_DELIBERATE = Mood("deliberate", pause=20.0)
_RECIPIENT = "ok-1@example.net"


@pytest.fixture
def world(directory: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Yield a world with nobody in it; its seed is the test's parameter, if it has one."""
    with World(getattr(request, "param", 0), directory, _PACE) as world:
        yield world


def _enqueue(world: World, **options: Any) -> None:
    receipt = None
    while receipt is None:
        draft = world.producer.draft((_RECIPIENT,), relay="main", **options)
        receipt = world.producer.enqueue(draft)


def _begin(world: World, mood: Mood, **options: Any) -> DaemonProcess:
    """Return a daemon to which a message was given while the relay was in this mood."""
    daemon = world.spawn()
    world.run(1)
    world.relays["main"].mood = mood
    _enqueue(world, **options)
    daemon.ring()
    return daemon


@pytest.mark.parametrize("moment", [20, 80])
@pytest.mark.parametrize("world", [1, 2], indirect=True)
@pytest.mark.parametrize("on_doubt", OnDoubt)
def test_who_slept_past_the_lease_writes_no_dot(
    world: World, moment: float, on_doubt: OnDoubt
) -> None:
    """A daemon that is frozen until another has taken over leaves the message alone afterwards.

    Its heartbeat, which is due as it wakes up, does not give the lease back to it. Raised by
    the world if a dot is written by who does not hold the lease.
    """
    sleeper = _begin(world, _DELIBERATE, on_doubt=on_doubt)
    world.run(moment)
    sleeper.freeze()
    world.spawn()
    world.run(400)
    sleeper.wake_up()
    world.run(HOUR)
    world.complete(settle(world))
    world.conclude()
    (one,) = world.watch.recipients()
    assert one.delivered <= 1 + one.doubts


def test_killed_after_the_dot_it_is_settled_by_the_next_start(world: World) -> None:
    """A daemon that starts settles at once what the killed one held, and records the doubt."""
    silent = Mood("silent", {"dot": {f"{TAKE_AND}{CLOSE}": 1.0}}, pause=5.0)
    daemon = _begin(world, silent)
    world.run(2)
    world.kill(daemon)
    world.spawn()
    world.run(10)
    (one,) = world.watch.recipients()
    assert (one.state, one.doubts) == ("deferred", 1)
    assert world.watch.met["lease of the dead"] == 1


def test_doubt_that_is_held_waits_for_a_person(world: World) -> None:
    """With on_doubt="hold" a lost reply leaves the message held, and it is not sent again."""
    _begin(world, Mood("rude", {"dot": {f"{TAKE_AND}{CLOSE}": 1.0}}), on_doubt=OnDoubt.HOLD)
    world.run(3 * HOUR)
    (one,) = world.watch.recipients()
    assert (one.state, one.doubts, one.delivered) == ("held", 1, 1)


def test_a_full_disk_loses_no_result(world: World) -> None:
    """A result that finds no room is kept until there is some; the mail is sent once."""
    _begin(world, Mood("good"))
    world.run(0.5)
    world.disk.is_full = True
    world.run(100)
    assert world.watch.recipients()[0].state == "sending"
    world.disk.mend()
    world.run(100)
    (one,) = world.watch.recipients()
    assert (one.state, one.delivered, one.doubts) == ("sent", 1, 0)
    assert "full disk" in world.disk.met
