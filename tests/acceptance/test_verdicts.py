"""The table of verdicts (DESIGN.md section 6), from a relay's conduct to the rows of the outbox.

The rows about trouble before MAIL are in `test_relay_trouble.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mailqueue.testing import Rule, Script, ScriptedRelay
from tests.acceptance.plays import ANN, BOB, Play, left_over, says, takes_and
from tests.support.daemon import PlainOutbox, Settings, leading_to, running

SHORT = 0.5
"""Seconds of patience in the rows where a relay stays silent."""


@dataclass(frozen=True)
class Row:
    """What a relay does to one mail, and what is written about it then.

    ``reused``: whether the next mail goes through the same session; ``taken``: how often the
    relay itself has taken responsibility for this one.
    """

    name: str
    at: str
    play: Play
    verdict: str
    scope: str
    rule: str
    code: int | None = None
    reused: bool = False
    taken: int = 0
    timeouts: Settings = field(default_factory=dict)
    noticed: str | None = None

    @property
    def stage(self) -> str:
        return (
            self.noticed
            or {"MAIL": "mail", "RCPT": "rcpt", "DATA": "data", ".": "end-of-data"}[self.at]
        )


def _answers() -> Iterator[Row]:
    for at, scope in (("RCPT", "recipient"), *((at, "message") for at in ("MAIL", "DATA", "."))):
        for code, verdict in ((450, "defer"), (554, "fail")):
            rule = f"{scope}-{code // 100}xx"
            play = says(f"{code} no")
            yield Row(f"{code} to {at}", at, play, verdict, scope, rule, code, reused=True)


def _broken_sessions() -> Iterator[Row]:
    kinds: dict[str, tuple[Play, str, int | None]] = {
        "close": (Rule.close, "lost-before-dot", None),
        "reset": (Rule.reset, "lost-before-dot", None),
        "garbage": (says("HTTP/1.1 400 no"), "malformed-reply", None),
        "code 199": (says("199 no"), "malformed-reply", 199),
        "code 600": (says("600 no"), "malformed-reply", 600),
        "left-over bytes": (left_over, "malformed-reply", None),
    }
    for at in ("MAIL", "RCPT", "DATA"):
        for name, (play, rule, code) in kinds.items():
            # In a group a reply too many shows at its end.
            stage = "data" if play is left_over else None
            yield Row(f"{name} at {at}", at, play, "defer", "session", rule, code, noticed=stage)
        timeouts = {at.lower(): SHORT}
        yield Row(
            f"silence at {at}",
            at,
            Rule.silence,
            "defer",
            "session",
            "lost-before-dot",
            timeouts=timeouts,
        )
    # To MAIL it is the relay that has no room: see the relay's troubles.
    for at in ("RCPT", "DATA", "."):
        yield Row(f"421 to {at}", at, says("421 no"), "defer", "session", "relay-closing", 421)


def _doubts() -> Iterator[Row]:
    silences: dict[str, tuple[Play, Settings]] = {
        "close": (Rule.close, {}),
        "reset": (Rule.reset, {}),
        "garbage": (says("HTTP/1.1 400 no"), {}),
        "left-over bytes": (left_over, {}),
        "silence": (Rule.silence, {"end_of_data": SHORT}),
    }
    for name, (play, timeouts) in silences.items():
        yield Row(
            f"{name} after the dot",
            ".",
            takes_and(play),
            "in-doubt",
            "message",
            "silence-after-dot",
            taken=1,
            timeouts=timeouts,
        )
    for code in (199, 354, 600):
        play = takes_and(says(f"{code} what"))
        name = f"{code} after the dot"
        yield Row(name, ".", play, "in-doubt", "message", "malformed-reply", code, taken=1)


def _acceptances() -> Iterator[Row]:
    for code in (250, 251, 259):
        name, play = f"{code} after the dot", says(f"{code} ok")
        yield Row(name, ".", play, "sent", "message", "accepted", code, reused=True, taken=1)


def _full_houses() -> Iterator[Row]:
    for text, verdict, rule in (
        ("452 4.5.3 too many recipients", "defer", "too-many-recipients"),
        ("552 too many recipients", "defer", "too-many-recipients"),
        ("552 5.2.2 mailbox full", "fail", "recipient-5xx"),
        ("452 4.2.2 mailbox full", "defer", "recipient-4xx"),
    ):
        yield Row(text, "RCPT", says(text), verdict, "recipient", rule, int(text[:3]), reused=True)


ROWS = [*_answers(), *_broken_sessions(), *_doubts(), *_acceptances(), *_full_houses()]
STATES = {"sent": "sent", "defer": "deferred", "fail": "failed", "in-doubt": "deferred"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_of_the_table_of_verdicts(
    row: Row, outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """What a relay does becomes exactly one charged attempt, with its state, scope and rule."""
    rule = row.play(script.on(row.at))
    outbox.put(ANN)
    keys = leading_to(relay, connections=1, timeouts=row.timeouts)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until(lambda: bool(outbox.attempts(ANN)))
        script.remove(rule)
        outbox.put(BOB)
        await daemon.until(lambda: outbox.state(BOB) == "sent")
    attempt = outbox.attempt(ANN)
    found = [attempt[key] for key in ("verdict", "scope", "rule", "stage", "code", "charged")]
    assert found == [row.verdict, row.scope, row.rule, row.stage, row.code, 1]
    assert outbox.state(ANN) == STATES[row.verdict]
    assert outbox.recipient(ANN)["doubts"] == (row.verdict == "in-doubt")
    assert relay.ledger.deliveries(ANN) == row.taken
    (arrived,) = [taken for taken in relay.ledger.accepted if BOB in taken.recipients]
    assert (arrived.session == 1) == row.reused
