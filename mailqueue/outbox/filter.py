"""Which mail is meant: what an operator knows about it, as a condition in SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select, text

from mailqueue.clock import microseconds
from mailqueue.errors import FilterError
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.acts import of_messages
from mailqueue.outbox.relays import named
from mailqueue.outbox.tables import messages, recipients
from mailqueue.outbox.tags import HasTag

Words = str | Iterable[str]
Numbers = int | Iterable[int]

_CODE: Final = re.compile(r"[2-5](?:[0-9]{2}|[0-9]x|xx)")
_ENHANCED: Final = re.compile(r"[245](?:\.[0-9]{1,3}){2}|[245](?:\.[0-9]{1,3})?\.\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What must hold of a recipient; each field that is set narrows it, and none means all.

    A field may be given one value or several, of which one must fit.

    ``message``: numbers. ``state``: names. ``relay``: names; the default one takes mail that names
    none. ``sender``, ``recipient``: addresses, and ``domain`` the recipient's, as A-labels; in
    these ``*`` stands for any text, and upper and lower case are the same, also before the ``@``,
    because nobody who looks for mail means two different people by them. ``<>`` is the null sender.
    ``code`` of the last reply: ``550``, ``55x`` or ``5xx``; ``enhanced``: ``5.7.1`` or ``5.7.*``.
    ``tag``: ``key=value``. ``older`` and ``newer`` than so long, by the time of enqueue.

    Raises `FilterError` for what can fit nobody, an empty list among it.
    """

    message: Numbers | None = None
    state: Words | None = None
    relay: Words | None = None
    sender: Words | None = None
    recipient: Words | None = None
    domain: Words | None = None
    code: Words | Numbers | None = None
    enhanced: Words | None = None
    tag: Words | None = None
    older: timedelta | None = None
    newer: timedelta | None = None

    def __post_init__(self) -> None:
        # A generator would be used up by the first question.
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not isinstance(value, str | int | timedelta):
                object.__setattr__(self, each.name, tuple(value))
                if not getattr(self, each.name):
                    # A list that came out empty means nobody, and would have meant everybody.
                    raise FilterError(each.name, "()", "it names nothing; leave it out for all")
        [*_conditions(self, 0, None)]

    @property
    def is_empty(self) -> bool:
        """Whether it leaves nobody out."""
        return self == Filter()

    @property
    def states(self) -> tuple[State, ...]:
        """The states that it names."""
        return tuple(map(_state, _several(self.state)))


def condition(wanted: Filter, *, now: int, default_relay: str | None = None) -> ColumnElement[bool]:
    """Return ``wanted`` as a condition on the table of recipients.

    ``default_relay`` is the name of the relay for mail that names none.
    """
    found = [*_conditions(wanted, now, default_relay)]
    return and_(*found) if found else text("TRUE")  # type: ignore[return-value]


def _conditions(
    wanted: Filter, now: int, default_relay: str | None
) -> Iterator[ColumnElement[bool]]:
    columns = recipients.c
    if numbers := _several(wanted.message):
        yield of_messages(numbers)
    if states := wanted.states:
        yield columns.state.in_(map(str, states))
        if not any(state.is_final for state in states):
            # It follows from the states, but the index of the unfinished asks for it in words.
            yield text(f"{recipients.name}.finished_at IS NULL")  # type: ignore[misc]
    if relays := _several(wanted.relay):
        yield columns.relay.in_([name for one in relays for name in named(one, default_relay)])
    yield from _any_of(wanted.recipient, lambda one: _matches(columns.address, _address(one)))
    yield from _any_of(wanted.domain, lambda one: _matches(columns.address, f"*@{_domain(one)}"))
    yield from _any_of(wanted.code, _has_code)
    yield from _any_of(wanted.enhanced, _has_enhanced)
    if of_message := [*_message_conditions(wanted, now)]:
        yield (
            select(messages.c.id)
            .where(messages.c.id == columns.message_id, *of_message)
            .correlate_except(messages)
            .exists()
        )


def _message_conditions(wanted: Filter, now: int) -> Iterator[ColumnElement[bool]]:
    columns = messages.c
    yield from _any_of(wanted.sender, lambda one: _matches(columns.sender, _sender(one)))
    yield from _any_of(wanted.tag, lambda one: HasTag(columns.tags, *_tag(one)))
    if wanted.older is not None:
        yield columns.enqueued_at <= now - microseconds(wanted.older.total_seconds())
    if wanted.newer is not None:
        yield columns.enqueued_at >= now - microseconds(wanted.newer.total_seconds())


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str | int) else tuple(value)


def _any_of(
    values: Any, condition_of: Callable[[Any], ColumnElement[bool]]
) -> Iterator[ColumnElement[bool]]:
    found = [*map(condition_of, _several(values))]
    if found:
        yield or_(*found)


def _matches(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern:
        # Both by the database: what is small to Python and to it is not the same letters.
        return func.lower(column) == func.lower(pattern)
    return column.ilike(_like(pattern), escape="\\")


def _like(pattern: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%")


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError:
        raise FilterError("state", name, f"use one of {', '.join(State)}") from None


def _address(pattern: str) -> str:
    if "@" not in pattern and "*" not in pattern:
        raise FilterError("recipient", pattern, "write an address, or a part of one with *")
    return pattern


def _sender(pattern: str) -> str:
    if pattern in ("", "<>"):
        return ""
    if "@" not in pattern and "*" not in pattern:
        raise FilterError("sender", pattern, "write an address, a part of one with *, or <>")
    return pattern


def _domain(pattern: str) -> str:
    if not pattern or "@" in pattern:
        raise FilterError("domain", pattern, "write what stands after the @, such as *.example.org")
    return pattern


def _has_code(code: str | int) -> ColumnElement[bool]:
    written = str(code).lower()
    if not _CODE.fullmatch(written):
        raise FilterError("code", written, "write a reply code such as 550, or a class such as 5xx")
    lowest, highest = (int(written.replace("x", digit)) for digit in "09")
    return recipients.c.last_code.between(lowest, highest)


def _has_enhanced(code: str) -> ColumnElement[bool]:
    if not _ENHANCED.fullmatch(code):
        raise FilterError("enhanced", code, "write a code such as 5.7.1, or a class such as 5.7.*")
    if code.endswith("*"):
        return recipients.c.last_enhanced.like(_like(code), escape="\\")
    return recipients.c.last_enhanced == code


def _tag(written: str) -> tuple[str, str]:
    key, is_pair, value = written.partition("=")
    if not (key and is_pair):
        raise FilterError("tag", written, "write key=value")
    return key, value
