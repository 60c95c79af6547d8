"""One cell with a relay of its own, and what that relay is told to do."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailqueue.testing import Ledger, Rule, Script, ScriptedRelay
from tests.faults.cells import Cell, Place
from tests.faults.expectation import Expectation, Pause, Row
from tests.faults.oracle import leaves_doubt
from tests.support.daemon import Settings, leading_to

PATIENCE = 4.0
"""Seconds that a silent relay is given. Before the fault and after it the same relay is honest,
and must answer in that time however busy the machine is."""
_DRIP = 8 / PATIENCE
"""Bytes in a second: each comes in time, and no reply is short enough to do so."""
PAUSE = 0.1
"""Seconds until a paused relay is probed."""
_USERS = {"user": "secret"}
_TIMEOUTS = {
    Place.GREETING: ("greeting",),
    Place.EHLO: ("ehlo",),
    Place.STARTTLS: ("starttls",),
    Place.HANDSHAKE: ("starttls",),
    Place.EHLO_IN_TLS: ("ehlo",),
    Place.AUTH: ("auth",),
    Place.RSET: ("rset",),
    Place.MAIL: ("mail", "rset"),
    Place.RCPT_FIRST: ("rcpt",),
    Place.RCPT_MIDDLE: ("rcpt",),
    Place.RCPT_LAST: ("rcpt",),
    Place.DATA: ("data",),
    Place.BODY: ("end_of_data",),
    Place.LONG_BODY: ("block",),
    Place.DOT: ("end_of_data",),
    Place.QUIT: ("quit",),
}


@dataclass(slots=True, eq=False)
class Trial:
    """One cell with its relay."""

    cell: Cell
    relay: ScriptedRelay
    number: int
    pipelined: bool = False
    fault: Rule | None = None
    target: tuple[tuple[Row, ...], ...] = ()
    primed: tuple[Row, ...] = ()
    sessions: int = 0
    taken: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.cell}"

    @property
    def name(self) -> str:
        return f"c{self.number}"

    @property
    def primer(self) -> str:
        return f"primer@{self.name}.example.net"

    @property
    def after(self) -> str:
        return f"after@{self.name}.example.net"

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(
            f"{self.cell.answer(position)}{position}@{self.name}.example.net"
            for position in range(self.cell.recipients)
        )

    def keys(self, ca_file: str) -> Settings:
        """Return the settings of the relay: impatient only where the fault is silence."""
        secured = {"tls": "starttls", "username": "user", "password": "secret"}
        impatient = _TIMEOUTS[self.cell.place] if self.cell.is_silence else ()
        return leading_to(
            self.relay,
            # Also where there is no TLS: certificates of the system take long to read.
            ca_file=ca_file,
            connections=1,
            pipelining=self.pipelined,
            messages_per_session=self.cell.messages_per_session,
            timeouts=dict.fromkeys(impatient, PATIENCE),
            breaker={"initial": PAUSE},
            **(secured if self.cell.place.is_secured else {}),
        )

    def prepare(self) -> None:
        """Set up what the mail before the target is to meet."""
        script = self.relay.script
        if self.cell.place is Place.RSET:
            script.on("DATA").times(1).reply("554 5.7.1 not this one")
        if self._speaks_behind_primer:
            self.fault = self._inflict()

    def misbehave(self) -> None:
        """Set up what the target is to meet."""
        if self.fault is None:
            self.fault = self._inflict()
        script = self.relay.script
        script.on("RCPT", address="never*").reply("550 5.1.1 no such user")
        script.on("RCPT", address="later*").reply("450 4.2.1 try again later")

    @property
    def has_misbehaved(self) -> bool:
        """Whether the fault has been shown, once."""
        return self.fault is not None and self.fault.used == 1

    def look(self, attempts: Mapping[str, Sequence[Row]]) -> None:
        """Keep how things stand, before the relay recovers and everything is tried again."""
        self.target = tuple(tuple(attempts[address]) for address in self.addresses)
        self.primed = tuple(attempts[self.primer])
        self.sessions = len(self.relay.ledger.sessions)
        self.taken = tuple(map(self.relay.ledger.deliveries, self.addresses))

    def seen(self, pauses: Iterable[Pause]) -> Expectation:
        """Return what was seen then, and why the relay was paused."""
        return Expectation(self.target, self.primed, tuple(pauses), self.sessions, self.taken)

    # Steps

    @property
    def _speaks_behind_primer(self) -> bool:
        early = self.cell.fault.is_early
        return early and self.cell.reused and self.cell.place in (Place.MAIL, Place.RSET)

    def _inflict(self) -> Rule:
        place, script = self.cell.place, self.relay.script
        numbers: dict[str, Any] = {}
        match place:
            case Place.RCPT_FIRST | Place.RCPT_MIDDLE | Place.RCPT_LAST:
                numbers = {"occurrence": self.cell.position + 1}
            case Place.EHLO_IN_TLS:
                numbers = {"occurrence": 2}
            case Place.MAIL if self._speaks_behind_primer:
                numbers = {"transaction": 2}
            case Place.QUIT:
                numbers = {"transaction": range(1, 1000)}
        rule = script.on(place.verb, **numbers).times(1)
        if leaves_doubt(self.cell):
            rule.accept()  # the worst that can be meant by saying nothing
        self.cell.fault.inflict(rule)
        if self.cell.fault.name == "slow-drip":
            rule.drip(bytes_per_second=_DRIP)
        return rule


def relay_for(cell: Cell, server_tls: ssl.SSLContext) -> ScriptedRelay:
    """Return the relay of a cell, not started yet: with TLS and AUTH only where they matter."""
    ledger = Ledger(keep_content=False)
    if cell.place.is_secured:
        return ScriptedRelay(
            Script(),
            ledger=ledger,
            tls=server_tls,
            users=_USERS,
            require_tls=True,
            require_auth=True,
        )
    return ScriptedRelay(Script(), ledger=ledger)
