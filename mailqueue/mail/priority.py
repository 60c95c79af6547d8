"""How urgent a message is, in the three steps that a claim can seek one by one."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Strict: as long as a more urgent recipient is due at a relay, no other is claimed there."""

    HIGH = 0
    NORMAL = 1
    LOW = 2
