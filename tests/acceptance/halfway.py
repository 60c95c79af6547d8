"""A relay that keeps some mails waiting before their final dot, and others after it."""

from __future__ import annotations

import asyncio
from typing import Any

from mailqueue.mail.priority import Priority
from mailqueue.testing import Cue, Script, ScriptedRelay
from tests.support.daemon import PlainOutbox, until

BEFORE = ("before1@example.net", "before2@example.net")
AFTER = ("after1@example.net", "after2@example.net")
LATER = tuple(f"later{number}@example.net" for number in range(6))
CONNECTIONS = len(BEFORE) + len(AFTER)


class Halfway:
    """Mails on their way: those to BEFORE have RCPT unanswered, those to AFTER the final dot.

    All sessions are taken by them. Those to LATER wait, some of them claimed already.
    """

    def __init__(self, outbox: PlainOutbox, script: Script, relay: ScriptedRelay) -> None:
        self.go_on = asyncio.Event()
        self._outbox = outbox
        self._script = script
        self._relay = relay
        script.on("RCPT", address="before*").wait_for(asyncio.Event())
        script.on(".").when(_is_after).wait_for(self.go_on)

    def put(self, **options: Any) -> None:
        """Store all of them."""
        urgent = [
            self._outbox.draft(address, priority=Priority.HIGH, **options)
            for address in (*BEFORE, *AFTER)
        ]
        self._outbox.put_all(urgent)
        self._outbox.put_all([self._outbox.draft(address, **options) for address in LATER])

    async def reached(self) -> None:
        """Return once each is where it is kept, and some of the later ones are claimed too."""
        seen = self._relay.ledger.seen
        await until(lambda: seen["."] == len(AFTER) and seen["RCPT"] == CONNECTIONS)
        await until(lambda: self._outbox.states()["sending"] > CONNECTIONS)

    async def let_go_of_those_before(self) -> None:
        """Return once the sessions of those before the dot have ended."""
        await self._relay.until(lambda: len(self._relay.sessions) == len(AFTER))

    def repair(self) -> None:
        """Let the relay be a correct one for whatever comes now."""
        self._script.clear()

    def states(self, addresses: tuple[str, ...]) -> set[str]:
        """Return the states in which these are."""
        return {self._outbox.state(address) for address in addresses}


def _is_after(cue: Cue) -> bool:
    return cue.recipients[0].startswith("after")
