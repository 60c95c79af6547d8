"""The first look into the outbox, which waits for a server that is not there yet."""

from __future__ import annotations

from mailqueue.clock import Clock
from mailqueue.daemon.database import Database
from mailqueue.daemon.service import Wake
from mailqueue.daemon.systemd import Notifier
from mailqueue.errors import OutboxUnavailableError, OutcomeUnknownError
from mailqueue.events import DatabaseTrouble, Emit
from mailqueue.outbox import schema
from mailqueue.outbox.patience import PATIENCE

EXTEND_SECONDS = 60.0
"""How much time the service manager is asked for at each try; one may take half of it."""


async def reach(database: Database, *, notifier: Notifier, clock: Clock, emit: Emit) -> None:
    """Return once the outbox has answered, and has the tables that this code knows.

    A machine that boots may have the daemon before the server: a service manager would give up
    after a few starts. Raises `OutboxError` where waiting mends nothing.
    """
    tried, told = 0, ""
    while True:
        try:
            await database.write(schema.check)
        except (OutboxUnavailableError, OutcomeUnknownError) as error:
            tried += 1
            notifier.extend(EXTEND_SECONDS)
            if told != str(error):
                told = str(error)
                emit(DatabaseTrouble("opening the outbox", told))
        else:
            return
        await Wake().wait(PATIENCE.delay(tried, clock.random()))
