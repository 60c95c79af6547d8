"""What is watched in a simulated world: its history, and whether anything breaks a promise."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from mailqueue import events
from mailqueue.errors import OutboxError
from tests.simulation.clock import WallTime
from tests.simulation.exchange import Begun, Dotted
from tests.simulation.invariants import Observed
from tests.simulation.ledger import Ledger
from tests.simulation.loop import Place, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.process import DaemonProcess
from tests.simulation.transport import Transport
from tests.simulation.witness import Witness


class Watch:
    """Hears of every event, every commit and every byte that is written.

    ``trace`` is the history, the same for the same seed; ``met`` counts what has happened, for
    those who want to know that it really did. What is found wrong is raised by `check`.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        wall: WallTime,
        network: Network,
        *,
        shell: sqlite3.Connection,
        ledger: Ledger,
        directory: Path,
    ) -> None:
        self.trace: list[str] = []
        self.met: Counter[str] = Counter()
        self._loop = loop
        self._wall = wall
        self._network = network
        self._shell = shell
        self._ledger = ledger
        self._directory = f"{directory}/"
        """Left out of the history: it is another one each time."""
        self._witness = Witness(shell, ledger.delivered)
        self._failures: list[BaseException] = []
        self._dead: set[str] = set()
        network.observe = self._wrote
        loop.set_exception_handler(self._unexpected)

    def note(self, what: str, *, met: str | None = None) -> None:
        """Write a line of history."""
        self.trace.append(f"{self._loop.time():.3f} {what}")
        if met is not None:
            self.met[met] += 1

    def check(self) -> None:
        """Raise what was found wrong so far, and look once more."""
        if not self._failures:
            self._look(closely=True)
        if self._failures:
            raise self._failures[0]

    @property
    def has_failed(self) -> bool:
        """Whether an invariant was found broken."""
        return bool(self._failures)

    def recipients(self) -> list[Observed]:
        """Return all recipients as they are now."""
        self._look(closely=True)
        return list(self._witness.seen.values())

    def _look(self, *, closely: bool = False) -> None:
        try:
            for one in self._witness.look(closely=closely):
                refused = one.state != "failed" or one.key in self._ledger.refused
                assert refused, f"failed, although no relay has refused it: {one}"
        except AssertionError as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.note(f"FAILED: {error}")
        self._failures.append(error)

    # Called by what is watched

    def committed(self) -> None:
        """Look again after a transaction."""
        if not self._failures:
            self._look()

    def died(self, daemon: DaemonProcess) -> None:
        """Take note of a daemon that was killed."""
        self._dead.add(daemon.worker)
        self.note(f"{daemon.name} killed", met="kill")

    def told(self, daemon: DaemonProcess, event: events.Event) -> None:
        """Take note of what a daemon says."""
        self.note(f"{daemon.name} {event!r}".replace(self._directory, ""))
        self.met[type(event).__name__] += 1
        match event:
            case events.PartFailed(_, error) if not isinstance(error, OutboxError):
                self._fail(error)
            case events.RecipientAnswered() | events.LeaseReaped():
                self.met[f"moved by {event.decision.event}"] += 1
        if isinstance(event, events.LeaseReaped):
            whose = "lease of the dead" if event.worker in self._dead else "stolen lease"
            self.met[whose] += 1

    def _wrote(self, transport: Transport, step: Begun | Dotted) -> None:
        daemon = transport.place
        assert isinstance(daemon, DaemonProcess)
        match step:
            case Begun():
                self._begins(daemon, transport)
            case Dotted(envelope) if envelope.accepted:
                self._dot(daemon, envelope.sender, *envelope.accepted)

    def _begins(self, daemon: DaemonProcess, transport: Transport) -> None:
        """Look whether who begins a transaction may."""
        if daemon.stop_heard_at is not None and self._loop.time() > daemon.stop_heard_at:
            told = f"{daemon.name} was told to stop, and began a transaction"
            self._fail(AssertionError(told))
        at_once = 1 + self._network.beside(transport)
        if daemon.most_at_once is not None and at_once > daemon.most_at_once:
            self._fail(AssertionError(f"{daemon.name} has {at_once} transactions at once"))
        self._begins_beside_others(daemon, transport)

    def _begins_beside_others(self, daemon: DaemonProcess, transport: Transport) -> None:
        """Look whether all daemons together have no more than the relay allows.

        Those do not count that sleep, or whose share is over: what they have begun nobody can end.
        """
        (host,) = (name for name, one in self._network.hosts.items() if one is transport.host)
        if daemon.most_at_once is None or not daemon.has_share(host):
            return
        reloaded = False

        def counts(place: Place) -> bool:
            nonlocal reloaded
            assert isinstance(place, DaemonProcess)
            reloaded = reloaded or place.most_at_once is None
            return place.has_share(host)

        together = self._network.together(transport, counts)
        self.met["shared relay"] += together > 1
        if not reloaded and together > daemon.most_at_once:
            self._fail(AssertionError(f"all daemons have {together} transactions at once"))

    def _dot(self, daemon: DaemonProcess, sender: str, *recipients: str) -> None:
        """Look whether who writes a final dot holds the leases."""
        rows = self._shell.execute(
            "SELECT r.address FROM mailqueue_recipients r JOIN mailqueue_messages m"
            " ON m.id = r.message_id WHERE m.sender = ? AND r.worker = ?",
            (sender, daemon.worker),
        )
        if set(recipients) <= {address for (address,) in rows}:
            return
        self.note(f"{daemon.name} wrote the dot of {sender} late", met="late dot")
        # Nobody can be kept from being stopped between looking at the lease and writing.
        if self._loop.time() > max(daemon.thawed_at, self._wall.jumped_at):
            told = f"{daemon.name} wrote the dot of a message that it had lost: {sender}"
            self._fail(AssertionError(told))

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._fail(context.get("exception") or AssertionError(context["message"]))
