"""Lengths of time on the command line, written as in the configuration."""

from __future__ import annotations

from typing import Any

import click


class Duration(click.ParamType):
    """Takes ``30s``, ``15m``, ``2h`` or ``5d``; gives seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return ``value`` in seconds."""
        from mailqueue.config.values import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


DURATION = Duration()
