"""Named places at which this process can be made to fail, to prove what a crash there costs.

``MAILQUEUE_FAILPOINT=before-mail:2:kill`` ends the process as it is about to send MAIL for the
second time. Without that variable no place does anything; see docs/decisions/0009-fail-points.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

VARIABLE: Final = "MAILQUEUE_FAILPOINT"

_COMMITS = (
    "enqueue-commit",
    # Whatever the daemon commits, the following among it.
    "commit",
    "claim-commit",
    "mark-dot-commit",
    "record-commit",
    "renew-commit",
    "reap-commit",
    "breaker-commit",
    "prune-commit",
    "checkpoint",
)
_COPYING = (
    # Of `mailqueue db copy`, in the order in which they come.
    "copy-fence-commit",
    "copy-arrival-commit",
    "copy-seal-commit",
    "copy-batch-commit",
    "copy-sequences-commit",
    "copy-relays-commit",
    "copy-compare",
    "copy-moved-commit",
    "copy-release-commit",
    # Of `mailqueue db copy --undo`.
    "copy-undo-commit",
    "copy-open-commit",
)
_STEPS = (
    "connect",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    # All blocks but the last, then the last, with which the final dot is written.
    "content",
    "dot",
    "rset",
    "quit",
)
DAILY: Final = (
    *(f"{moment}-{step}" for step in (*_COMMITS, *_STEPS) for moment in ("before", "after")),
    # The reply to the final dot is here, and not yet on record.
    "after-end-of-data",
)
"""Every place that producers and daemons come to, by its name."""
POINTS: Final = (
    *DAILY,
    *(f"{moment}-{step}" for step in _COPYING for moment in ("before", "after")),
)
"""Every place there is."""


class FailPointReached(Exception):
    """What the action ``raise`` raises; never without `VARIABLE`."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit() -> NoReturn:
    os._exit(70)


def _raise() -> NoReturn:
    raise FailPointReached


_ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": _kill,
    "exit": _exit,
    "raise": _raise,
}
ACTIONS: Final = tuple(_ACTIONS)
"""``kill``: SIGKILL; ``exit``: the end without any handler; ``raise``: a bug at this place."""


@dataclass(slots=True)
class _Armed:
    point: str
    left: int
    act: Callable[[], None]

    def meet(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                self.act()


def _read(text: str) -> _Armed | None:
    """Return what ``POINT:NTH:ACTION`` asks for. Raises ValueError where it asks for nothing."""
    if not text:
        return None
    point, nth, action = text.split(":")
    if point not in POINTS or int(nth) < 1 or action not in _ACTIONS:
        raise ValueError(f"{VARIABLE} is {text!r}: there is no such point, time or action")
    return _Armed(point, int(nth), _ACTIONS[action])


_armed = _read(os.environ.get(VARIABLE, ""))


def arm(text: str) -> None:
    """Do as if `VARIABLE` had been ``text`` from the start; "" disarms. Raises ValueError."""
    global _armed  # noqa: PLW0603 - a process has one environment too
    _armed = _read(text)


def reach(moment: str, step: str) -> None:
    """Fail here if this is the place that is armed; ``moment`` is "before" or "after"."""
    if _armed:
        _armed.meet(f"{moment}-{step}")
