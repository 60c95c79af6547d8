"""Which event loop the daemon runs on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

from mailqueue.errors import ConfigError


def loop_factory(
    choice: Literal["auto", "asyncio", "uvloop"],
) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop; "auto" takes uvloop where it is installed.

    Raises `ConfigError` where uvloop is asked for by name and is not there.
    """
    is_there = find_spec("uvloop") is not None
    if choice == "uvloop" and not is_there:
        raise ConfigError(
            "[daemon] event_loop is uvloop, which is not installed: "
            "pip install 'mailqueue[fast]', or set it to \"auto\""
        )
    if choice == "asyncio" or not is_there:
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415 - an extra, looked for above

    return uvloop.new_event_loop


def spare_collector() -> None:
    """Let the garbage collector look seldom, and never at what is there already.

    By default it looks after every 700 new objects, of which a message makes a few dozen that are
    all gone a moment later; a quarter of the daemon's time went into that. Each time it walks what
    is under way, some ten thousand objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 50)
