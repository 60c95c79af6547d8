"""How long to wait: for a relay's replies, between attempts, and for a relay in trouble."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mailqueue.config.section import Clash, Section, refuse
from mailqueue.config.values import Duration, format_duration

Factor = Annotated[float, Field(ge=1)]
"""What each pause is multiplied by to get the next one."""


class Timeouts(Section):
    """Seconds to wait at each stage; the values follow RFC 5321 section 4.5.3.2."""

    connect: Duration = 30.0
    """The TCP connection."""
    greeting: Duration = 300.0
    """The relay's 220."""
    ehlo: Duration = 300.0
    starttls: Duration = 300.0
    """The reply to STARTTLS and the handshake after it."""
    auth: Duration = 300.0
    mail: Duration = 300.0
    rcpt: Duration = 300.0
    data: Duration = 120.0
    """The 354 that lets the content come."""
    block: Duration = 180.0
    """Each block of the content, until the network has taken it."""
    end_of_data: Duration = 600.0
    """The reply to the final dot: cutting it short makes duplicates."""
    rset: Duration = 60.0
    """The first command on a session that was kept open."""
    quit: Duration = 10.0


class BackoffSettings(Section):
    """When a deferred recipient is tried again, and when it is given up (seconds)."""

    initial: Duration = 300.0
    """The pause after the first attempt."""
    factor: Factor = 2.0
    maximum: Duration = 14_400.0
    """No pause is longer, jitter apart."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The fraction of a pause that is left to chance, 0 to 1."""
    give_up: Duration = 432_000.0
    """The age at which a message that was not sent expires."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        clashes = []
        if self.maximum < self.initial:
            clashes.append(_shorter("maximum", self.maximum, self.initial))
        if self.give_up < self.initial:
            clashes.append(_shorter("give_up", self.give_up, self.initial))
        refuse(clashes)
        return self


class BreakerSettings(Section):
    """When a relay in trouble is paused, and for how long (seconds)."""

    initial: Duration = 30.0
    """The first pause."""
    factor: Factor = 2.0
    maximum: Duration = 600.0
    session_troubles: Annotated[int, Field(ge=1)] = 5
    """Sessions in a row that must end in trouble before the relay is paused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.maximum < self.initial:
            refuse([_shorter("maximum", self.maximum, self.initial)])
        return self


def _shorter(key: str, value: float, initial: float) -> Clash:
    pause = format_duration(initial)
    return Clash(
        (key,),
        f"{format_duration(value)} is shorter than initial, which is {pause}; "
        f'make it at least "{pause}" or shorten initial',
    )
