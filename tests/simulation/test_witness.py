"""The witness: whatever changes the rows, the record or the relays' ledger is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.pace import HOUR, Pace
from tests.simulation.witness import Witness
from tests.simulation.world import World

_PACE = Pace(
    troubles=0.0,
    mails=0,
    daemons=1,
    lease=HOUR,
    backoff=100.0,
    longest_backoff=300.0,
    give_up=HOUR,
    connections=1,
    timeouts={},
)


@pytest.fixture
def world(directory: Path) -> Iterator[World]:
    """Yield a world in which one mail was sent, and another waits after a 450."""
    with World(0, directory, _PACE) as world:
        for recipient in ("ok-1@example.net", "never-2@example.net"):
            draft = world.producer.draft((recipient,))
            while world.producer.enqueue(draft) is None:
                pass
        world.spawn()
        world.run(20)
        yield world


@pytest.fixture
def witness(world: World) -> Witness:
    """Return a witness who has looked, and found nothing wrong."""
    witness = Witness(world.shell, world.ledger.delivered)
    found = {one.state: one for one in witness.look()}
    assert set(found) == {"sent", "deferred"}
    assert found["sent"].delivered == found["deferred"].attempts == 1
    return witness


def test_nothing_new_is_nothing_to_tell(witness: Witness) -> None:
    """What is as it was is not told again, at a glance and closely."""
    assert witness.look() == witness.look(closely=True) == []


def test_time_that_passes_is_seen(world: World, witness: Witness) -> None:
    """The next attempt of the one who waits is told, and nobody else."""
    world.run(400)
    (one,) = witness.look()
    assert one.address == "never-2@example.net"
    assert one.attempts > 1


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE mailqueue_recipients SET finished_at = 1", "finished exactly when"),
        ("UPDATE mailqueue_recipients SET attempts = 9", "each charged attempt"),
        ("DELETE FROM mailqueue_attempts", "each charged attempt"),
        ("DELETE FROM mailqueue_attempts WHERE verdict = 'sent'", "each charged attempt"),
    ],
)
def test_what_somebody_writes_by_hand_is_seen(
    world: World, witness: Witness, statement: str, rule: str
) -> None:
    """A row or a record that is not true any more is found at the first glance."""
    world.shell.execute(statement)
    with pytest.raises(AssertionError, match=rule):
        witness.look()


def test_a_relay_that_took_it_again_is_seen(world: World, witness: Witness) -> None:
    """The ledger alone is enough: the rows have not changed."""
    for key in world.ledger.delivered:
        world.ledger.delivered[key] += 1
    with pytest.raises(AssertionError, match="covered by a doubt"):
        witness.look()
