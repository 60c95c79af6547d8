"""The producer's face: put mail into the outbox, ask how it stands, cancel it."""

from mailqueue.client.async_outbox import AsyncOutbox
from mailqueue.client.cancellation import Cancellation, TooLate
from mailqueue.client.limits import Limits
from mailqueue.client.outbox import Outbox
from mailqueue.client.outgoing import Outgoing

__all__ = [
    "AsyncOutbox",
    "Cancellation",
    "Limits",
    "Outbox",
    "Outgoing",
    "TooLate",
]
