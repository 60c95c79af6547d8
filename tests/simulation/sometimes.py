"""What the seeds must really have reached, or their silence proves nothing."""

from __future__ import annotations

from collections import Counter
from typing import Final

SOMETIMES: Final = frozenset(
    {
        # Troubles of the machine.
        *("kill", "lease of the dead", "stop", "freeze", "stolen lease", "ResultRefused"),
        *(
            "busy database",
            "full disk",
            "DiskLow",
            "commit of unknown outcome",
            "commit lost on its way",
        ),
        *("DatabaseTrouble", "DatabaseRecovered", "clock set", "Reloaded"),
        # Troubles of the network and the relays.
        *("cut connection", "stuck connection", "unanswered connection", "unresolved name"),
        *("relay down", "relay locked", "relay forgetful", "RelayPaused", "RelayResumed"),
        # What became of the mail.
        *("doubt", "duplicate", "sent", "failed", "expired", "cancelled"),
        *("moved by hold-doubt", "moved by hand-back", "moved by defer", "moved by give-up"),
    }
)


def missing(met: Counter[str]) -> frozenset[str]:
    """Return what was never met."""
    return frozenset(what for what in SOMETIMES if not met[what])
