"""The sections that are not about one relay: database, daemon, limits, retention and log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from mailqueue.config.section import Clash, Section, refuse
from mailqueue.config.url import check_url, redact_url
from mailqueue.config.values import Duration, DurationOrZero, Line, Size, format_duration

Count = Annotated[int, Field(ge=1)]
DatabaseUrl = Annotated[
    Line, AfterValidator(check_url), PlainSerializer(redact_url, when_used="json")
]


class DatabaseSettings(Section):
    """[database]: where the outbox is."""

    url: DatabaseUrl = Field(default="sqlite:///outbox.db", repr=False)
    """May hold a password; not shown by repr() and masked in JSON."""
    busy_timeout: DurationOrZero = 10.0
    """Seconds to wait for another writer."""
    notify: bool = True
    """PostgreSQL: whether commits wake the daemon by NOTIFY; otherwise it looks every ``poll``."""


class DaemonSettings(Section):
    """[daemon]: the pace of the process that sends (seconds)."""

    default_relay: Line | None = None
    """None: the only relay, or the one named "default"; see `Config.default_relay`."""
    drain: DurationOrZero = 300.0
    """How long a shutdown waits for replies to final dots that were written."""
    lease: Duration = 120.0
    """How long claimed recipients stay ours without a heartbeat."""
    heartbeat: Duration = 20.0
    """How often leases are renewed."""
    poll: Duration = 1.0
    """The pause between looks into the outbox while there is mail."""
    poll_max: Duration = 5.0
    """What that pause grows to while there is none."""
    deliveries: Count = 2000
    """Messages claimed and not yet answered, all relays together."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """How many share the work, and the limits of every relay."""
    event_loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """"auto": uvloop where it is installed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(list(self._clashes()))
        return self

    def _clashes(self) -> Iterator[Clash]:
        if self.lease <= 3 * self.heartbeat:
            yield Clash(
                ("lease",),
                f"{format_duration(self.lease)} is not more than three times heartbeat, which is "
                f"{format_duration(self.heartbeat)}, so a late heartbeat could lose leases; "
                "lengthen lease or shorten heartbeat",
            )
        if self.poll_max < self.poll:
            yield Clash(
                ("poll_max",),
                f"{format_duration(self.poll_max)} is shorter than poll, which is "
                f"{format_duration(self.poll)}; lengthen poll_max or shorten poll",
            )


class LimitSettings(Section):
    """[limits]: what the outbox takes in (bytes; recipients of one message)."""

    message_size: Annotated[Size, Field(ge=1)] = 25 * 2**20
    recipients: Count = 1000
    queued_size: Annotated[Size, Field(ge=1)] = 10 * 2**30
    """All contents that are not yet final, together."""
    free_disk: Size = 256 * 2**20
    """What must stay free on the disk of the outbox."""


class RetentionSettings(Section):
    """[retention]: how long finished messages are kept (seconds after the last recipient)."""

    contents: DurationOrZero = 604_800.0
    """The bytes."""
    messages: DurationOrZero = 7_776_000.0
    """The rows that say what happened."""


class LogSettings(Section):
    """[log]: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
