"""The options that say which mail is meant, the same for every command that takes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import click

from mailqueue.mail.lifecycle import State

R = TypeVar("R")


class Lasting(click.ParamType[timedelta]):
    """A length of time, as in the configuration: ``90s``, ``2h``, ``1d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the length, or fail with the form that was expected."""
        from mailqueue.config.values import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=parse_duration(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


_OPTIONS = (
    click.option("--relay", "relay", metavar="NAME", multiple=True, help="Mail for this relay."),
    click.option("--sender", "sender", metavar="ADDRESS", multiple=True, help="Or <>, for none."),
    click.option(
        "--recipient", "recipient", metavar="ADDRESS", multiple=True, help="Such as ann@*."
    ),
    click.option(
        "--domain", "domain", metavar="DOMAIN", multiple=True, help="The recipient's domain."
    ),
    click.option("--code", "code", metavar="CODE", multiple=True, help="Last reply: 550, 5xx."),
    click.option(
        "--enhanced", "enhanced", metavar="CODE", multiple=True, help="Last reply: 5.7.1, 5.7.*."
    ),
    click.option("--tag", "tag", metavar="KEY=VALUE", multiple=True, help="A tag of the message."),
    click.option("--older", type=Lasting(), metavar="AGE", help="Enqueued before 90s, 2h, 1d."),
    click.option("--newer", type=Lasting(), metavar="AGE", help="Enqueued since then."),
)
STATE = click.option(
    "--state",
    "state",
    type=click.Choice([*map(str, State)]),
    multiple=True,
    help="Recipients in this state.",
)
EPILOG = """Different filters narrow one another; one that is repeated takes either. In addresses
and domains * stands for any text, and upper and lower case are the same."""


def takes_filter(*more: Callable[..., Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command the options of a filter, and ``more``; it gets them as ``wanted``.

    That is a mapping of the fields of `mailqueue.operate.Filter` that were given.
    """

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @wraps(command)
        def with_filter(*args: Any, **options: Any) -> R:
            fields = {name: options.pop(name) for name in [*options] if name in _FIELDS}
            wanted = {name: value for name, value in fields.items() if value not in ((), None)}
            return command(*args, wanted=wanted, **options)

        decorated: Callable[..., R] = with_filter
        for option in reversed((*more, *_OPTIONS)):
            decorated = option(decorated)
        return decorated

    return decorate


_FIELDS = (
    "state",
    "relay",
    "sender",
    "recipient",
    "domain",
    "code",
    "enhanced",
    "tag",
    "older",
    "newer",
)


def made(wanted: dict[str, Any]) -> Any:
    """Return the filter of these fields; raises `FilterError`.

    A domain of other than ASCII letters is looked for as the envelope has it, in A-labels.
    """
    from mailqueue.outbox.filter import Filter

    given = {**wanted, "domain": tuple(map(_domain, wanted.get("domain", ())))}
    return Filter(**{name: value for name, value in given.items() if value != ()})


def _domain(pattern: str) -> str:
    from mailqueue.client.mailbox import as_a_labels
    from mailqueue.errors import FilterError
    from mailqueue.mail.address import InvalidAddressError

    try:
        return pattern if "*" in pattern else as_a_labels(pattern)
    except InvalidAddressError as error:
        raise FilterError("domain", pattern, str(error)) from None
