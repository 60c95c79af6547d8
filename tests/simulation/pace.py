"""How one simulated world is set up: its daemons, its configuration, how long its troubles last."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailqueue.config import Config, Loaded

CANARY = "canary-password-4711"
"""The password of the relay that wants one; it may appear nowhere."""
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations in seconds. ``mails``: about how many messages; ``daemons``: how many processes."""

    troubles: float
    mails: int
    daemons: int
    lease: float
    backoff: float
    longest_backoff: float
    give_up: float
    connections: int
    timeouts: dict[str, float]
    """Of the stages from MAIL to DATA, where they are not the usual ones."""

    @classmethod
    def draw(cls, chance: random.Random) -> Pace:
        """Draw a day like others, or one that is not."""
        lease = chance.choice((1, 2, 4)) * HOUR
        # A frozen daemon meets its own conversation again only where it may last that long.
        give_up, longest_backoff = chance.choice(((3, 0.5), (6, 2), (24, 4), (120, 4)))
        patient = dict.fromkeys(("mail", "rcpt", "data"), 1.5 * lease)
        return cls(
            troubles=chance.choice((2, 4, 8)) * HOUR,
            mails=chance.randint(10, 25),
            daemons=chance.choice((1, 2, 2, 3)),
            lease=lease,
            backoff=chance.choice((30.0, 300.0)),
            longest_backoff=longest_backoff * HOUR,
            give_up=give_up * HOUR,
            connections=chance.choice((1, 2, 4)),
            timeouts=chance.choice(({}, patient)),
        )

    @property
    def patience(self) -> float:
        """How long after all troubles everything that can be sent must have been sent.

        The longest that anything waits for by itself: a scheduled time, a backoff, the longest
        pause of a breaker, a lease that nobody works on, the slowest reply.
        """
        return self.longest_backoff + 2 * self.lease + 2 * HOUR

    def loaded(self, path: Path, authority: Path, *, connections: int | None = None) -> Loaded:
        """Return the configuration, as a file would give it."""
        relay: dict[str, Any] = {
            "ca_file": str(authority),
            "connections": connections or self.connections,
            "local_hostname": "client.example.org",
            "timeouts": self.timeouts,
        }
        settings: dict[str, Any] = {
            "database": {"url": f"sqlite:///{path}"},
            "daemon": {
                "default_relay": "main",
                "lease": self.lease,
                "heartbeat": self.lease / 4,
                "poll": self.lease / 8,
                "poll_max": self.lease,
                "drain": 300.0,
            },
            "backoff": {
                "initial": self.backoff,
                "maximum": self.longest_backoff,
                "give_up": self.give_up,
            },
            "limits": {"free_disk": 2},
            "retention": {"contents": 12 * HOUR, "messages": 10 * 24 * HOUR},
            "relays": {
                "main": relay | {"host": "localhost", "tls": "none", "fallback": ["smart"]},
                "smart": relay
                | {
                    "host": "smart.example",
                    "tls": "implicit",
                    "username": "us",
                    "password": CANARY,
                    "recipients_per_transaction": 3,
                },
            },
        }
        return Loaded(Config.model_validate(settings), "the simulation")
