"""What the sender wants where nobody can know whether the relay accepted."""

from __future__ import annotations

from enum import StrEnum


class OnDoubt(StrEnum):
    """``RETRY``: at least once, perhaps twice. ``HOLD``: at most once, perhaps never."""

    RETRY = "retry"
    HOLD = "hold"
