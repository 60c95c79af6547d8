"""A bar on standard error for what takes longer than a moment."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from mailqueue.clock import Clock, SystemClock

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

PATIENCE = 1.0
"""Seconds until people want to see that something moves."""


class Progress:
    """Shows how much of ``total`` is done, on a terminal, once that takes a second."""

    def __init__(self, total: int, label: str, *, clock: Clock | None = None) -> None:
        self._total = total
        self._label = label
        self._clock = clock or SystemClock()
        self._begun = self._clock.monotonic()
        self._bar: ProgressBar[int] | None = None
        self._shown = 0

    def show(self, done: int) -> None:
        """Show that ``done`` are done."""
        if self._bar is None and self._is_wanted():
            self._bar = click.progressbar(length=self._total, label=self._label, file=sys.stderr)
            self._bar.__enter__()
        if self._bar is not None:
            self._bar.update(done - self._shown)
            self._shown = done

    def _is_wanted(self) -> bool:
        return sys.stderr.isatty() and self._clock.monotonic() - self._begun >= PATIENCE

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it is, and what follows on a line of its own."""
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
