"""Writes a relay's row, and remembers what others can read there."""

from __future__ import annotations

from functools import partial

from mailqueue.daemon.recorder import Recorder
from mailqueue.daemon.routing import Route
from mailqueue.outbox.relays import save


async def show(recorder: Recorder, route: Route) -> None:
    """Write how the relay is now; returns after the commit."""
    breaker, row = route.breaker, route.row()
    condition = breaker.condition
    await recorder.write(partial(save, row=row, is_news=breaker.is_news))
    breaker.shown = condition
