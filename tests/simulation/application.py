"""An application that uses the public API, on the same file and the same disk as everybody."""

from __future__ import annotations

from mailqueue import Limits, MessageStatus, Outbox
from mailqueue.client.cancellation import Cancellation
from mailqueue.errors import OutboxError
from mailqueue.mail.doubt import OnDoubt
from tests.simulation.database import transact
from tests.simulation.people import Producer


class Application:
    """Enqueues in transactions of its own, and asks and cancels as anybody may."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        # How full the disk is, the simulation says.
        self._outbox = Outbox(producer.engine, limits=Limits(free_disk=None), clock=producer.clock)

    def enqueue(
        self, recipients: tuple[str, ...], *, relay: str | None, on_doubt: OnDoubt
    ) -> int | None:
        """Return the number of a new message; None where the database did not take it."""
        draft = self._producer.draft(recipients)
        try:
            receipt = transact(
                self._producer.engine,
                self._producer.disk,
                lambda connection: self._outbox.enqueue(
                    draft.content.raw,
                    sender=draft.envelope.sender,
                    recipients=recipients,
                    relay=relay,
                    on_doubt=on_doubt,
                    connection=connection,
                ),
            )
        except OutboxError:
            return None
        self._producer.receipts[receipt.id] = receipt.message_id
        return receipt.id

    def status(self, message: int) -> MessageStatus:
        """Return how a message stands."""
        return self._outbox.status(message)

    def cancel(self, message: int) -> Cancellation:
        """Cancel a message, as far as it is not too late."""
        return self._outbox.cancel(message)
