"""How a message wants to be treated, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar

from mailqueue.client.outgoing import Outgoing
from mailqueue.clock import microseconds
from mailqueue.errors import OptionError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.priority import Priority
from mailqueue.outbox.enqueue import Options
from mailqueue.outbox.tables import DEFAULT_RELAY

MAX_KEY_CHARACTERS = 200
MAX_TAGS = 32
MAX_TAG_NAME_CHARACTERS = 64
MAX_TAG_CHARACTERS = 256
MAX_SECONDS = 100 * 365.25 * 86_400
"""A hundred years: later than that is a mistake in the unit."""

# What mailqueue.config accepts as a relay's name; importing it would load pydantic.
_RELAY = re.compile(r"(?=.{1,63}\Z)[a-z0-9]+(?:[_-][a-z0-9]+)*")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_NO_WISHES = Options(tags=MappingProxyType({}))


def options_of(outgoing: Outgoing, *, now: int) -> Options:
    """Return the checked options of ``outgoing``, instants in epoch microseconds.

    ``expires_in`` counts from ``send_at``, or from ``now`` where that is later. Raises
    `OptionError`.
    """
    if _wishes_nothing(outgoing):
        return _NO_WISHES
    send_at = _instant(outgoing.send_at)
    return Options(
        relay=_relay(outgoing.relay),
        priority=_priority(outgoing.priority),
        on_doubt=_named(OnDoubt, "on_doubt", outgoing.on_doubt),
        send_at=send_at,
        expires_at=_deadline(outgoing.expires_in, max(now, send_at or now)),
        tags=_tags(outgoing.tags),
        idempotency_key=_key(outgoing.idempotency_key),
    )


def _wishes_nothing(outgoing: Outgoing) -> bool:
    return (
        outgoing.idempotency_key is None
        and outgoing.tags is None
        and outgoing.relay is None
        and outgoing.send_at is None
        and outgoing.expires_in is None
        and outgoing.priority is Priority.NORMAL
        and outgoing.on_doubt is OnDoubt.RETRY
    )


def _instant(send_at: Any) -> int | None:
    if send_at is None:
        return None
    if not isinstance(send_at, datetime):
        raise OptionError(f"send_at must be a datetime with a time zone, not {send_at!r}")
    if send_at.utcoffset() is None:
        raise OptionError(
            f"send_at={send_at!r} has no time zone; use datetime.now(UTC) + ..., or "
            "send_at.astimezone() for the local time of this machine"
        )
    return (send_at - _EPOCH) // _MICROSECOND


def _deadline(expires_in: Any, start: int) -> int | None:
    if expires_in is None:
        return None
    if isinstance(expires_in, timedelta):
        seconds = expires_in.total_seconds()
    elif isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        raise OptionError(f"expires_in must be a timedelta or seconds, not {expires_in!r}")
    else:
        seconds = expires_in
    if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
        raise OptionError(
            f"expires_in must be more than zero and at most a hundred years, not {expires_in!r}"
        )
    return start + microseconds(seconds)


def _relay(name: Any) -> str:
    if name is None:
        return DEFAULT_RELAY
    if not (isinstance(name, str) and _RELAY.fullmatch(name)):
        raise OptionError(
            f"relay={name!r} cannot be the name of a relay: use small letters and digits, with "
            "single hyphens or underscores between them, 63 at most"
        )
    return name


def _priority(given: Any) -> Priority:
    known = _PRIORITIES.get(given, given) if isinstance(given, str) else given
    return _named(Priority, "priority", known)


_E = TypeVar("_E", bound=Enum)


def _named(kind: type[_E], option: str, given: Any) -> _E:
    try:
        return kind(given)
    except ValueError:
        known = ", ".join(repr(each.name.lower()) for each in kind)
        raise OptionError(f"{option} must be one of {known}, not {given!r}") from None


def _tags(tags: Any) -> Mapping[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise OptionError(f"tags must be a mapping of str to str, not {type(tags).__name__}")
    if len(tags) > MAX_TAGS:
        raise OptionError(f"a message can have {MAX_TAGS} tags, not {len(tags)}")
    for name, value in tags.items():
        _check_text("the name of a tag", name, 1, MAX_TAG_NAME_CHARACTERS)
        _check_text(f"the tag {name!r}", value, 0, MAX_TAG_CHARACTERS)
    return dict(tags)


def _key(key: str | None) -> str | None:
    if key is not None:
        _check_text("idempotency_key", key, 1, MAX_KEY_CHARACTERS)
    return key


def _check_text(what: str, text: Any, least: int, most: int) -> None:
    if not isinstance(text, str):
        raise OptionError(f"{what} must be a str, not {text!r}")
    if not least <= len(text) <= most:
        raise OptionError(f"{what} must have {least} to {most} characters, not {len(text)}")
    if found := _UNFIT.search(text):
        raise OptionError(f"{what} contains the character U+{ord(found[0]):04X}")
