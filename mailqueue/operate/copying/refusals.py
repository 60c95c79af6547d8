"""Why an outbox is not copied."""

from __future__ import annotations

from mailqueue.errors import MailqueueError


class CopyError(MailqueueError):
    """The outbox cannot be copied so; the text says why, and what stands where."""


class UnfitRowError(CopyError):
    """A row cannot be in the other database as it is."""


class DifferenceError(CopyError):
    """Source and target are not the same at the end; the fences stay as they are."""


class NotNowError(CopyError):
    """Leases were not settled in time; the fence stands, and running it again goes on."""
