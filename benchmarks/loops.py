"""Which event loop a program of the benchmark runs on."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

HAS_UVLOOP = find_spec("uvloop") is not None


def runner(kind: str = "fastest") -> asyncio.Runner:
    """Return a runner: ``asyncio``, ``uvloop``, or the ``fastest`` that is installed."""
    if kind == "asyncio" or (kind == "fastest" and not HAS_UVLOOP):
        return asyncio.Runner()
    import uvloop  # noqa: PLC0415  it is an extra

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
