"""A group whose commands are loaded when they are called, so that each starts fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, as ``module:name``, and what the help of its group says about it."""

    place: str
    help: str


Sections = Mapping[str, Mapping[str, Entry]]
"""Headings of the help, and under each the commands by name."""


class LazyGroup(click.Group):
    """Knows its commands by name and loads the one that is asked for."""

    def __init__(self, *args: Any, sections: Sections, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sections = sections

    @property
    def entries(self) -> dict[str, Entry]:
        """All commands by name, in the order of the help."""
        return {name: entry for each in self.sections.values() for name, entry in each.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, none of which is loaded for it."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of this name; None where there is none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = entry.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        del ctx
        for heading, entries in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])
