"""What a client hears of each fault, and where it notices it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto

from tests.faults.cells import PER_TRANSACTION, Cell, Place


class Heard(Enum):
    """What arrives in place of a reply with a code of its own."""

    USUAL = auto()
    """The right reply, however it is cut into pieces."""
    SURPLUS = auto()
    """A reply, and more bytes behind it."""
    NONSENSE = auto()
    """Bytes that are not a reply."""
    NOTHING = auto()
    """Silence, or the end of the connection."""
    LAST_WORDS = auto()
    """The right reply, and then the end of the connection."""
    EARLY = auto()
    """The reply to a command that was not sent yet: a surplus behind the reply before it."""


HEARD: Mapping[str, int | Heard] = {
    "2xx": 250,
    "bare-2xx": 250,
    "odd-2xx": 259,
    "multiline-2xx": 250,
    "3xx": 354,
    "4xx": 451,
    "5xx": 554,
    "multiline-5xx": 554,
    "421": 421,
    "421-and-close": 421,
    "code-199": 199,
    "code-600": 600,
    "code-999": 999,
    "code-25": Heard.NONSENSE,
    "garbage": Heard.NONSENSE,
    "empty-line": Heard.NONSENSE,
    "8-bit": 451,
    "8-bit-garbage": Heard.NONSENSE,
    "64-kb-line": Heard.NONSENSE,
    "64-kb-garbage": Heard.NONSENSE,
    "endless": Heard.NONSENSE,
    "mixed-codes": Heard.NONSENSE,
    "two-replies": Heard.SURPLUS,
    "reply-and-421": Heard.SURPLUS,
    "early": Heard.EARLY,
    "split-at-every-byte": Heard.USUAL,
    "slow-drip": Heard.NOTHING,
    "silence": Heard.NOTHING,
    "half-a-reply": Heard.NOTHING,
    "close": Heard.NOTHING,
    "half-a-reply-and-close": Heard.NOTHING,
    "reset": Heard.NOTHING,
    "half-close": Heard.NOTHING,
    "reply-and-close": Heard.LAST_WORDS,
}

BROKEN = (Heard.SURPLUS, Heard.NONSENSE, Heard.NOTHING)

Spot = tuple[str, int]
"""A reply: the stage, and there the number of the recipient or else of the transaction."""


def noticed(cell: Cell) -> Iterator[tuple[Spot, int | Heard]]:
    """Yield the reply at which the fault shows, and what is heard there; two where it may vary."""
    spot, heard = _spot(cell), HEARD[cell.fault.name]
    match heard:
        case Heard.EARLY if spot == ("ehlo-in-tls", 0):
            # It comes with the end of the handshake, just before EHLO is written or after.
            yield spot, Heard.SURPLUS
            yield spot, 250
        case Heard.EARLY:
            yield _before(cell, spot), Heard.SURPLUS
        case Heard.LAST_WORDS if spot == ("data", 0):
            # A race on the wire: the end arrives just before the dot is written, or after.
            yield ("data", 0), Heard.NOTHING
            yield ("dot", 0), Heard.NOTHING
        case Heard.LAST_WORDS if spot[0] not in ("dot", "quit"):
            yield _behind(cell, spot), Heard.NOTHING
        case _:
            yield spot, heard


def _spot(cell: Cell) -> Spot:
    if cell.place.verb == "RCPT":
        return "rcpt", cell.position
    # A short body has left together with its dot when the relay misbehaves.
    return ("dot" if cell.place is Place.BODY else str(cell.place)), 0


def _before(cell: Cell, spot: Spot) -> Spot:
    """Return the reply behind which a relay says the one to ``spot`` too early."""
    match spot:
        case ("rcpt", position) if position > 0:
            return "rcpt", position - 1
        case ("mail", _):
            return ("primer-dot", 0) if cell.reused else ("ehlo", 0)
    return {
        "ehlo": ("greeting", 0),
        "starttls": ("ehlo", 0),
        # A relay that offers AUTH in the clear would be wrong too, so this one speaks up there.
        "auth": ("ehlo", 0),
        "rset": ("primer-data", 0),
        "rcpt": ("mail", 0),
        # It cannot know how many recipients there will be.
        "data": ("rcpt", 0),
        "dot": ("data", 0),
        "quit": ("dot", 0),
    }[spot[0]]


def _behind(cell: Cell, spot: Spot) -> Spot:
    """Return the reply that is awaited after the one to ``spot``."""
    match spot:
        case ("rcpt", position):
            following = position + 1
            if following < cell.recipients and following % PER_TRANSACTION:
                return "rcpt", following
            return "data", position // PER_TRANSACTION
    return {
        "greeting": ("ehlo", 0),
        "ehlo": ("mail", 0),
        "starttls": ("handshake", 0),
        "ehlo-in-tls": ("auth", 0),
        "auth": ("mail", 0),
        "rset": ("mail", 0),
        "mail": ("rcpt", 0),
    }[spot[0]]
