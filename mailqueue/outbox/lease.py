"""What a worker holds while it sends: the message, and a lease on each of its recipients."""

from __future__ import annotations

from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content
from mailqueue.mail.schedule import History
from mailqueue.mail.value import value


@value
class Lease:
    """One leased recipient. ``token`` must still be the row's for a result to be written."""

    recipient: int
    address: str
    token: int
    history: History


@value
class LeasedMessage:
    """A message with those of its recipients that were due, and its content."""

    id: int
    sender: str
    content: Content
    on_doubt: OnDoubt
    relay: str
    enqueued_at: int
    leases: tuple[Lease, ...]
