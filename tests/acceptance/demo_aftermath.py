"""Aftermaths of demos that never took place, to judge the judges by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mailqueue.cli.demo.aftermath import Aftermath
from mailqueue.cli.demo.chronicle import Chronicle, Enqueued
from mailqueue.cli.demo.mails import Mail
from mailqueue.cli.demo.records import Look, Row, Standing
from mailqueue.cli.demo.relays import Relays
from mailqueue.mail.lifecycle import State
from mailqueue.testing import Acceptance, Script, ScriptedRelay

_ROW = Standing(
    id=0,
    message_id=0,
    address="",
    relay="main",
    state=State.SENT,
    attempts=1,
    doubts=0,
    due_at=None,
    finished_at=1,
    last_code=250,
    last_text="ok",
    on_doubt="retry",
)


def make_relays() -> Relays:
    """Return relays that do not run, with empty ledgers."""
    script = Script()
    greeting = script.on("CONNECT")
    main, bulk, account = (ScriptedRelay() for _ in range(3))
    return Relays(main=main, bulk=bulk, account=account, greeting=greeting)


@dataclass
class World:
    """What a demo leaves behind, put down piece by piece."""

    chronicle: Chronicle = field(default_factory=lambda: Chronicle(synchronous=2))
    relays: Relays = field(default_factory=make_relays)
    rows: list[Standing] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)

    def stored(self, mail: Mail, **columns: Any) -> Standing:
        """Enqueue ``mail``, for one recipient, and let its row be like this."""
        (address,) = mail.recipients
        number = len(self.rows) + 1
        self.chronicle.enqueued.append(Enqueued(mail, number))
        row = replace(_ROW, id=number, message_id=number, address=address, relay=mail.relay)
        self.rows.append(replace(row, **columns))
        return self.rows[-1]

    def tried(self, row: Standing, what: str, code: int | None = 250, **columns: Any) -> None:
        """Put an attempt on record."""
        attempt = {"kind": "attempt", "what": what, "code": code, "stage": "rcpt", "rule": ""}
        when = {"recipient_id": row.id, "at": f"{len(self.history):03}"}
        self.history.append({**attempt, **when, **columns})

    def asked(self, address: str) -> None:
        """Let `main` be asked to take mail for ``address``."""
        self.heard(f"RCPT TO:<{address}>")

    def heard(self, line: str) -> None:
        """Let `main` hear a command."""
        self.relays.main.ledger.open_session("client").heard(line)

    def took(self, address: str) -> None:
        """Let `main` be asked for it, and take it."""
        self.asked(address)
        self.relays.main.ledger.enter(_acceptance(address))

    @property
    def look(self) -> Look:
        """How the rows stand."""
        return Look(tuple(self.rows), {})

    def aftermath(self) -> Aftermath:
        """Return it all."""
        return Aftermath(
            self.chronicle,
            self.relays,
            self.look,
            history=tuple(self.history),
            breakers=(),
            failures=(),
            doubts=(),
        )


def _acceptance(address: str) -> Acceptance:
    return Acceptance(
        order=1,
        at=0.0,
        session=1,
        transaction=1,
        sender="",
        recipients=(address,),
        mail_parameters=(),
        recipient_parameters={},
        content=None,
        size=0,
        digest="",
        message_id=f"<{address}>",
        reply="250 ok",
        tls=None,
        authenticated_as=None,
    )
