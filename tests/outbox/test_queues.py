"""What waits for each relay."""

from __future__ import annotations

from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.queues import Queue, queues
from tests.support.rows import NOW, SECOND, add_message


def test_a_queue_counts_what_is_unfinished(connection: Connection) -> None:
    """Each unfinished state has its number; what is sent or failed is no queue's any more."""
    for state in State:
        add_message(connection, relay="bulk", recipient={"state": state})
    add_message(connection, relay="done", recipient={"state": State.SENT})
    add_message(connection, relay="main", recipient={"state": State.HELD})
    assert queues(connection) == {
        "bulk": Queue(queued=1, deferred=1, sending=1, held=1, oldest_due=NOW),
        "main": Queue(held=1),
    }


def test_the_end_of_a_lease_is_no_due_time(connection: Connection) -> None:
    """Only what waits is due; the first of it tells how far behind the queue is."""
    add_message(connection, recipient={"state": State.SENDING, "due_at": NOW})
    for later in (9, 5, 7):
        add_message(connection, recipient={"due_at": NOW + later * SECOND})
    assert queues(connection)["default"].oldest_due == NOW + 5 * SECOND


def test_two_queues_of_one_relay_are_one() -> None:
    """Mail that names no relay is the default one's, with whatever names it."""
    both = Queue(1, 2, 3, 4, NOW) + Queue(10, 20, 30, 40, NOW - 1)
    assert both == Queue(11, 22, 33, 44, NOW - 1)
    assert Queue() + Queue(oldest_due=NOW) == Queue(oldest_due=NOW)
