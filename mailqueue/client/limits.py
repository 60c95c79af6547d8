"""What this outbox takes on, and no more."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mailqueue.errors import LimitError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What a producer may put into the outbox; None lifts a limit.

    ``message_size``: octets of one message as it goes on the wire. ``recipients`` of one
    message. ``queued_size``: octets of all messages that somebody still waits for.
    ``free_disk``: octets that stay free on the disk of a SQLite outbox, so that the daemon can
    write down what became of the mail that is there.
    """

    message_size: int | None = 25 * MIB
    recipients: int | None = 1000
    queued_size: int | None = 10 * GIB
    free_disk: int | None = 256 * MIB

    def __post_init__(self) -> None:
        """Refuse what is no limit; raises `ValueError`."""
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"the limit {limit.name} must be a whole number, not {value!r}")
            if value is not None and value < 0:
                raise ValueError(f"the limit {limit.name} cannot be less than zero")


def place_of(limit: str) -> str:
    """Say where the limit of this name is set: in the code, or in a configuration that is read."""
    return (
        f"it stands in Outbox(url, limits=Limits({limit}=...)), or for Outbox.from_config() and "
        f"`mailqueue send` under [limits] in the configuration, as {limit}"
    )


def check_size(octets: int, limits: Limits) -> None:
    """Raise `LimitError` for a message that is too large; ``octets`` as on the wire."""
    if limits.message_size is not None and octets > limits.message_size:
        raise LimitError(
            f"the message has {octets:,} octets and the limit is {limits.message_size:,} "
            "(message_size); send a link to what it carries, or raise the limit: "
            + place_of("message_size"),
            limit=limits.message_size,
            actual=octets,
        )


def check_recipients(count: int, limits: Limits) -> None:
    """Raise `LimitError` for a message that goes to too many."""
    if limits.recipients is not None and count > limits.recipients:
        raise LimitError(
            f"the message has {count:,} recipients and the limit is {limits.recipients:,} "
            "(recipients); enqueue it several times, with a part of them each, or raise the limit: "
            + place_of("recipients"),
            limit=limits.recipients,
            actual=count,
        )
