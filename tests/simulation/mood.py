"""How a simulated relay behaves for a while: what it does at which stage, and how often."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

SILENCE, CLOSE = "(silence)", "(close)"
"""Not answering, and hanging up; everything else is the reply itself."""
TAKE_AND = "take and "
"""Before what follows a final dot whose message was taken: the reply to it is not a 250."""

Habits = Mapping[str, Mapping[str, float]]
"""By stage: what is done instead of the usual, and how likely."""


@dataclass(frozen=True, slots=True)
class Mood:
    """``pause``: seconds that it thinks before each reply, on average."""

    name: str
    habits: Habits = field(default_factory=dict)
    pause: float = 0.1
    listens: bool = True

    def draw(self, stage: str, chance: random.Random) -> str | None:
        """Return what is done at ``stage`` this time, None for the usual."""
        habits = self.habits.get(stage)
        if not habits:
            return None
        drawn = chance.random()
        for what, likelihood in habits.items():
            drawn -= likelihood
            if drawn < 0:
                return what
        return None


GOOD = Mood("good")
_CLOSING = "421 4.3.2 closing"
_BUSY = "451 4.3.0 try again later"
_GARBAGE = "what is this"

FORGETFUL = Mood(
    "forgetful",
    {
        "dot": {
            CLOSE: 0.15,
            SILENCE: 0.1,
            _BUSY: 0.1,
            _CLOSING: 0.1,
            TAKE_AND + CLOSE: 0.2,
            TAKE_AND + SILENCE: 0.1,
            TAKE_AND + _GARBAGE: 0.05,
            TAKE_AND + "250 ok\r\n250 ok": 0.05,
        },
    },
)
"""Where doubt comes from: the dot is answered wrongly, or not at all."""

MOODS = (
    GOOD,
    Mood("slow", {"dot": {f"{TAKE_AND}250 slow": 0.2}}, pause=40.0),
    Mood("down", listens=False),
    Mood("unwelcoming", {"greeting": {"554 5.3.2 not you": 0.8, _CLOSING: 0.2}}),
    Mood("mute", {"greeting": {SILENCE: 0.6, CLOSE: 0.2}, "ehlo": {SILENCE: 0.2, CLOSE: 0.2}}),
    Mood(
        "locked", {"auth": {"535 5.7.8 wrong": 0.9, "454 4.7.0 later": 0.1}, "ehlo": {CLOSE: 0.2}}
    ),
    Mood("strict", {"mail": {"530 5.7.0 Authentication required": 0.9}}),
    Mood("overloaded", {"mail": {_CLOSING: 0.7}, "rcpt": {_CLOSING: 0.2}}),
    Mood(
        "fickle",
        {
            "ehlo": {_CLOSING: 0.05, "502 5.5.1 what": 0.1},
            "mail": {_BUSY: 0.1, _CLOSING: 0.05, SILENCE: 0.03, CLOSE: 0.05, _GARBAGE: 0.02},
            "rcpt": {
                _BUSY: 0.1,
                _CLOSING: 0.05,
                SILENCE: 0.02,
                CLOSE: 0.05,
                "250 ok\r\n250 ok": 0.05,
            },
            "data": {
                _BUSY: 0.1,
                _CLOSING: 0.05,
                CLOSE: 0.05,
                "250 ok": 0.05,
                "354 go\r\n250 ok": 0.05,
            },
            "dot": {_BUSY: 0.1, "554 5.6.0 no": 0.05, "999 what": 0.05},
        },
    ),
    FORGETFUL,
)
