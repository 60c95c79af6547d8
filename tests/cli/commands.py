"""All commands of the command line, found by walking it, with something to give to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from mailqueue.cli.main import cli

ELSEWHERE = {
    "run": "sends until it is told to stop; its log is tested in tests/events",
    "send": "speaks to a relay and not to an outbox; tested in test_send.py",
    "demo": "has an outbox of its own; tested in tests/acceptance",
}
"""Commands that cannot be called over a prepared outbox, and where they are tested instead."""


@dataclass(frozen=True, slots=True)
class Called:
    """One command as words, such as ``("db", "check")``, with its parameters."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def takes_database(self) -> bool:
        """Whether it can be pointed at an outbox."""
        return any(param.name == "database" for param in self.command.params)

    @property
    def flags(self) -> list[str]:
        """Its options without a value, each of which is a way of its own to call it."""
        return [
            param.opts[0]
            for param in self.command.params
            if isinstance(param, click.Option) and param.is_flag and not param.is_eager
        ]

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Return a value for each of its arguments, by what the help calls it."""
        wanted = [one for one in self.command.params if isinstance(one, click.Argument)]
        missing = [one.metavar for one in wanted if one.required and one.metavar not in values]
        assert not missing, f"say in this test what to give to {self.words} for {missing}"
        given = [values[str(one.metavar)] for one in wanted if one.metavar in values]
        return [*self._required(values), *given]

    def _required(self, values: Mapping[str, str]) -> list[str]:
        options = [one for one in self.command.params if isinstance(one, click.Option)]
        return [
            word
            for one in options
            if one.required and one.metavar in values
            for word in (one.opts[0], values[str(one.metavar)])
        ]


def commands() -> Iterator[Called]:
    """Yield every command, those of later versions too, but for those in `ELSEWHERE`."""
    for name in cli.list_commands(click.Context(cli)):
        if name not in ELSEWHERE:
            command = cli.get_command(click.Context(cli), name)
            assert command is not None
            yield from _within((name,), command)


def _within(words: tuple[str, ...], command: click.Command) -> Iterator[Called]:
    if not isinstance(command, click.Group):
        yield Called(words, command)
        return
    for name in command.list_commands(click.Context(command)):
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        yield from _within((*words, name), inner)
