"""Lengths of time on the command line, written as in the configuration."""

from __future__ import annotations

import click


def seconds(text: str) -> float:
    """Return ``30s``, ``15m``, ``2h`` or ``5d`` in seconds; raises `click.BadParameter`."""
    from mailqueue.config.values import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}") from None


DURATION = seconds
"""The type of an option that takes a length of time."""
