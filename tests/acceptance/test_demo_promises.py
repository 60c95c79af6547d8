"""The demo's judgement: each promise has cases that would be called broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailqueue.cli.demo.chronicle import Injection, Late, Seen
from mailqueue.cli.demo.mails import Mail
from mailqueue.cli.demo.producers import VICTIM
from mailqueue.cli.demo.promise import Account, Observation, Standing
from mailqueue.cli.demo.promises import PROMISES
from mailqueue.cli.demo.troubles import FAILED_PART
from mailqueue.events import PartFailed
from mailqueue.events.wording import word
from mailqueue.mail.lifecycle import State
from tests.acceptance.demo_aftermath import World

ROOT = Path(__file__).parents[2]
CUSTOMER = Mail(("customer-1@example.net",))
(ADDRESS,) = CUSTOMER.recipients


def _lost(world: World) -> None:
    world.stored(CUSTOMER)
    world.rows.clear()


def _stored_under_another_number(world: World) -> None:
    row = world.stored(CUSTOMER)
    world.rows[:] = [replace(row, message_id=99)]


def _orphan_unsent(world: World) -> None:
    world.chronicle.orphaned.append(ADDRESS)


def _rolled_back_and_stored(world: World) -> None:
    world.stored(CUSTOMER)
    world.chronicle.rolled_back.append(ADDRESS)


def _rolled_back_and_sent(world: World) -> None:
    world.took(ADDRESS)
    world.chronicle.rolled_back.append(ADDRESS)


def _not_synced(world: World) -> None:
    world.chronicle.synchronous = 1


def _two_rows(world: World) -> None:
    row = world.stored(CUSTOMER)
    world.rows.append(replace(row, id=2))


def _final_and_due(world: World) -> None:
    world.stored(CUSTOMER, due_at=1)


def _waiting_and_finished(world: World) -> None:
    world.stored(CUSTOMER, state=State.DEFERRED, due_at=1, finished_at=1)


def _left_final_state(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.FAILED)
    world.chronicle.halfway = world.look
    world.rows[:] = [replace(row, state=State.SENT)]


def _cancelled_and_asked(world: World) -> None:
    world.stored(CUSTOMER, state=State.CANCELLED)
    world.asked(ADDRESS)


def _refused_and_asked_twice(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.FAILED, last_code=550)
    world.tried(row, "fail", 550)
    world.asked(ADDRESS)
    world.asked(ADDRESS)


def _refused_at_mail_and_asked_twice(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.FAILED, last_code=550)
    world.tried(row, "fail", 550, stage="mail")
    world.heard(f"MAIL FROM:<{CUSTOMER.sender}> SIZE=1")
    world.heard(f"MAIL FROM:<{CUSTOMER.sender}> SIZE=1")


def _failed_with_4xx(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.FAILED, last_code=451)
    world.tried(row, "fail", 451)
    world.asked(ADDRESS)


def _put_off_for_ever(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.HELD)
    world.tried(row, "defer", 451)


def _expired_without_cause(world: World) -> None:
    world.stored(CUSTOMER, state=State.EXPIRED)


def _taken_and_asked_again(world: World) -> None:
    row = world.stored(CUSTOMER)
    mixed = Mail((ADDRESS, "greylisted-1@example.net"))
    world.chronicle.enqueued[0] = replace(world.chronicle.enqueued[0], mail=mixed)
    world.tried(row, "sent")
    world.took(ADDRESS)
    world.asked(ADDRESS)


def _arrived_twice(world: World) -> None:
    world.stored(CUSTOMER)
    world.took(ADDRESS)
    world.took(ADDRESS)


def _doubt_without_attempt(world: World) -> None:
    world.stored(CUSTOMER, doubts=1)


def _hold_arrived_twice(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.HELD, on_doubt="hold", doubts=1, finished_at=None)
    world.tried(row, "in-doubt", None)
    world.took(ADDRESS)
    world.took(ADDRESS)


def _hold_sent_on(world: World) -> None:
    row = world.stored(CUSTOMER, state=State.SENT, on_doubt="hold", doubts=1)
    world.tried(row, "in-doubt", None)


def _key_taken_twice(world: World) -> None:
    world.chronicle.again.append(False)


def _charged_for_the_relay(world: World) -> None:
    world.stored(replace(CUSTOMER, relay="bulk"), attempts=2)


def _failed_for_the_password(world: World) -> None:
    world.stored(replace(CUSTOMER, relay="account"), state=State.FAILED)


def _ended_badly(world: World) -> None:
    world.chronicle.exits.append(1)


def _lease_left(world: World) -> None:
    world.stored(CUSTOMER, state=State.SENDING, finished_at=None, due_at=1)


def _late_result_written(world: World) -> None:
    row = world.stored(CUSTOMER)
    before, after = Seen(row, ()), Seen(replace(row, attempts=2), ())
    world.chronicle.late.append(Late(ADDRESS, before, after, 1))


def _fault_not_recorded(world: World) -> None:
    world.stored(Mail(("tampered-1@example.net",)), state=State.EXPIRED)


def _part_of_the_daemon_failed(world: World) -> None:
    world.chronicle.logs["a"] = ["ERROR Dispatcher: unexpected KeyError: 'x'; it goes on"]


def _injection_taken(world: World) -> None:
    world.chronicle.injections.append(Injection("a line break in a header", ""))


def _relay_heard_of_the_victim(world: World) -> None:
    world.asked(VICTIM)


def _reply_stored_raw(world: World) -> None:
    hostile = Mail(("hostile-1@example.net",))
    world.stored(hostile, state=State.FAILED, last_text="\x1b[2J DROP TABLE")


def _password_logged(world: World) -> None:
    world.chronicle.secrets.append("correct horse")
    world.chronicle.logs["a"] = ["INFO AUTH correct horse"]


def _password_stored(world: World) -> None:
    world.chronicle.secrets.append("correct horse")
    world.tried(world.stored(CUSTOMER), "sent", command="AUTH correct horse")


BREACHES: list[tuple[int, Callable[[World], None]]] = [
    *((1, one) for one in (_lost, _stored_under_another_number, _orphan_unsent)),
    *((1, one) for one in (_rolled_back_and_stored, _rolled_back_and_sent, _not_synced)),
    *((2, one) for one in (_two_rows, _final_and_due, _waiting_and_finished)),
    *((2, one) for one in (_left_final_state, _cancelled_and_asked)),
    *((3, one) for one in (_refused_and_asked_twice, _refused_at_mail_and_asked_twice)),
    *((3, one) for one in (_failed_with_4xx, _put_off_for_ever, _expired_without_cause)),
    (3, _taken_and_asked_again),
    *((4, one) for one in (_arrived_twice, _doubt_without_attempt, _hold_arrived_twice)),
    *((4, one) for one in (_hold_sent_on, _key_taken_twice)),
    *((5, one) for one in (_charged_for_the_relay, _failed_for_the_password)),
    *((5, one) for one in (_ended_badly, _lease_left)),
    (6, _late_result_written),
    *((7, one) for one in (_fault_not_recorded, _part_of_the_daemon_failed)),
    *((8, one) for one in (_injection_taken, _relay_heard_of_the_victim)),
    *((8, one) for one in (_reply_stored_raw, _password_logged, _password_stored)),
]


def _account(world: World, number: int) -> Account:
    (promise,) = (one for one in PROMISES if one.number == number)
    return promise.account(world.aftermath())


@pytest.mark.parametrize(
    ("number", "breach"), BREACHES, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_breach_is_called_one(number: int, breach: Callable[[World], None]) -> None:
    """A single case against a promise breaks it, and the line names the case."""
    world = World()
    breach(world)
    found = _account(world, number)
    assert found.standing is Standing.BROKEN
    assert found.text == "; ".join(case for one in found.observations for case in one.against)


@pytest.mark.parametrize("number", [promise.number for promise in PROMISES])
def test_nothing_seen_is_said(number: int) -> None:
    """Where there was nothing to look at, no promise is called kept: the line points to tests."""
    found = _account(World(), number)
    assert found.standing is Standing.NOT_SEEN
    assert found.text == f"not seen here: see {found.tests}"
    assert (ROOT / found.tests).exists()


def test_a_part_unseen_leaves_the_promise_unseen() -> None:
    """A promise is kept only if all that belongs to it was there to be seen."""
    whole, none = Observation("2 mails", 2), Observation("0 mails", 0)
    assert Account(1, "name", "tests", (whole, whole)).standing is Standing.KEPT
    assert Account(1, "name", "tests", (whole, none)).standing is Standing.NOT_SEEN


def test_a_failed_part_is_known_by_its_words() -> None:
    """The words by which the demo finds a part that failed are those that the log has for it."""
    assert FAILED_PART in word(PartFailed("Dispatcher", KeyError("x"))).text


def test_all_promises_are_there() -> None:
    """DESIGN.md makes eight promises, and each has its line."""
    assert [promise.number for promise in PROMISES] == [1, 2, 3, 4, 5, 6, 7, 8]
