"""Who carries the deliveries of a relay: in which order, how many at once, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mailqueue.daemon.crew import Crew
from mailqueue.daemon.delivery import Delivery
from mailqueue.mail.lifecycle import Event
from mailqueue.mail.rule import Rule
from mailqueue.mail.stage import Stage
from mailqueue.outbox.record import Result
from mailqueue.smtp.pipelined import PipelinedTransaction
from mailqueue.testing import Script, ScriptedRelay
from tests.daemon.desk import Desk
from tests.daemon.parts import PATIENCE, message_for, turns, until

ANN, BOB, CEE, DAN = (f"{name}@example.net" for name in ("ann", "bob", "cee", "dan"))


class Unable(Desk):
    """A desk that takes no results."""

    def settle(self, delivery: Delivery, results: Sequence[Result]) -> None:
        """Fail."""
        raise ZeroDivisionError


class Room:
    """A crew, the desk it carries from, and what it says has failed."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.failed: list[Exception] = []
        self.crew = Crew(self.failed.append)

    def take(self, *addresses: str, places: int, on: Desk | None = None) -> list[Delivery]:
        """Let the crew carry a message to each of these addresses."""
        taken = []
        for address in addresses:
            taken.append((on or self.desk).delivery(message_for(address)))
            self.crew.take(taken[-1], places=places)
        return taken

    async def left(self) -> None:
        """Wait until nobody carries anything."""
        await asyncio.wait_for(self.crew.left(), PATIENCE)


@pytest.fixture
def room(desk: Desk) -> Room:
    """A crew that has nothing to do."""
    return Room(desk)


async def test_one_comes_after_the_other_in_the_order_in_which_they_came(room: Room) -> None:
    """What has waited longest is due first, and one carrier takes as many as there are."""
    room.take(CEE, ANN, DAN, BOB, places=1)
    await room.left()
    assert list(room.desk.events()) == [CEE, ANN, DAN, BOB]
    assert len(room.desk.ended) == 4


async def test_no_more_are_under_way_than_there_are_places(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """Whoever has no carrier has asked for no session yet, and costs a place in a queue."""
    go_on = asyncio.Event()
    script.on("MAIL").wait_for(go_on)
    taken = room.take(ANN, BOB, CEE, places=2)
    await relay.saw("MAIL")
    await turns()
    assert [one.begun for one in taken] == [True, True, False]
    go_on.set()
    await room.left()
    assert room.desk.events() == dict.fromkeys((ANN, BOB, CEE), Event.SEND)


async def test_what_comes_in_the_tick_in_which_the_last_carrier_ends_is_carried(room: Room) -> None:
    """It counts as busy until its end is known, and nobody else is engaged for it."""
    (first,) = room.take(ANN, places=1)
    ended = room.desk.ended

    def take_next(delivery: Delivery) -> None:
        ended.append(delivery.message.id)
        # After the carrier's last step, and before anybody hears that it has ended.
        asyncio.get_running_loop().call_soon(lambda: room.take(BOB, places=1))

    first.ended = take_next
    await until(lambda: ended)
    await turns(2)
    await room.left()
    assert room.desk.events() == {ANN: Event.SEND, BOB: Event.SEND}


async def test_one_that_raises_costs_the_others_nothing(room: Room) -> None:
    """It is told, and its carrier takes the next one."""
    broken = Unable(room.desk.pool, room.desk.clock)
    room.take(ANN, places=1, on=broken)
    room.take(BOB, places=1)
    await room.left()
    assert [type(error) for error in room.failed] == [ZeroDivisionError]
    assert room.desk.events() == {BOB: Event.SEND}
    assert broken.ended, "its octets and its place are given back all the same"


async def test_what_waits_is_turned_away_and_what_is_carried_goes_on(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """Where nothing may begin, whoever waits goes back, also behind one that cannot be told."""
    go_on = asyncio.Event()
    script.on("MAIL").wait_for(go_on)
    broken = Unable(room.desk.pool, room.desk.clock)
    room.take(ANN, places=1)
    await relay.saw("MAIL")
    room.take(BOB, places=1, on=broken)
    room.take(CEE, places=1)
    room.crew.turn_away("the relay was paused")
    assert room.desk.events() == {CEE: Event.HAND_BACK}
    assert [type(error) for error in room.failed] == [ZeroDivisionError]
    go_on.set()
    await room.left()
    assert room.desk.events() == {CEE: Event.HAND_BACK, ANN: Event.SEND}


async def test_interrupted_it_awaits_what_is_past_its_dot_and_hands_back_the_rest(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """One whose dot is written, one in line behind it, and one that nobody carries yet."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    room.take(ANN, BOB, CEE, places=2)
    await relay.saw(".")
    assert room.crew.past_dot == 1
    room.crew.interrupt("shutdown")
    room.crew.interrupt("shutdown")
    await turns()
    assert room.desk.events() == {CEE: Event.HAND_BACK, BOB: Event.HAND_BACK}
    go_on.set()
    await room.left()
    assert room.desk.events()[ANN] is Event.SEND
    assert len(room.desk.ended) == 3


async def test_who_is_cut_short_leaves_his_place_to_another(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """A carrier ends with the delivery that is ended; what comes before its last step is carried
    all the same.
    """
    script.on("DATA", session=1).silence()
    room.take(ANN, places=1)
    await relay.saw("DATA")
    room.crew.interrupt("the outbox is being copied")
    room.take(BOB, places=1)
    await room.left()
    assert room.desk.events() == {ANN: Event.HAND_BACK, BOB: Event.SEND}


async def test_withdrawn_it_finishes_what_has_a_session_for_itself(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """Whoever stands in line behind another message goes back, and so does who waits."""
    go_on = asyncio.Event()
    script.on("RCPT", address=ANN).wait_for(go_on)
    room.take(ANN, BOB, CEE, places=2)
    await relay.saw("RCPT")
    room.crew.withdraw("the relay was paused")
    room.crew.withdraw("the relay was paused")
    await turns()
    assert room.desk.events() == {CEE: Event.HAND_BACK, BOB: Event.HAND_BACK}
    go_on.set()
    await room.left()
    assert room.desk.events()[ANN] is Event.SEND


async def test_withdrawn_in_the_tick_in_which_its_dot_could_go_it_writes_none(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """Between the word to leave and the carrier's next step the 354 may come: nothing is sent by
    it that nobody waits for.
    """
    script.on("DATA").silence()
    (delivery,) = room.take(ANN, places=1)
    delivery.may_write_dot = lambda *_: True  # at once, as it is unless doubt is held
    await relay.saw("DATA")
    transaction = delivery._transaction
    assert isinstance(transaction, PipelinedTransaction)
    await until(lambda: transaction.stage is Stage.DATA)
    room.crew.interrupt("shutdown")
    transaction._line.data_received(b"354 go\r\n")
    assert not transaction.dot_written
    await room.left()
    assert room.desk.rules() == {ANN: Rule.ABANDONED}
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_aborted_it_leaves_doubt_only_where_a_dot_was_written(
    room: Room, script: Script, relay: ScriptedRelay
) -> None:
    """The drain is over: each has one verdict, and nobody carries anything."""
    script.on(".").accept().silence()
    room.take(ANN, BOB, CEE, places=2)
    await relay.saw(".")
    room.crew.abort()
    await room.left()
    assert room.desk.rules() == {
        ANN: Rule.SILENCE_AFTER_DOT,
        BOB: Rule.ABANDONED,
        CEE: Rule.ABANDONED,
    }
    await turns()
    assert len(room.desk.ended) == 3


async def test_aborted_before_its_first_step_it_hands_everybody_back(room: Room) -> None:
    """A carrier that is cancelled then runs nothing, and what it would have taken waits still."""
    room.take(ANN, BOB, places=2)
    room.crew.abort()
    await room.left()
    assert room.desk.events() == {ANN: Event.HAND_BACK, BOB: Event.HAND_BACK}
