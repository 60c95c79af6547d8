"""Waiting for something that nobody announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(
    condition: Callable[[], bool], *, what: Callable[[], object] = str, timeout: float = 15.0
) -> None:
    """Return once ``condition`` holds; it is asked again whenever the loop had some turns.

    Raises TimeoutError with what ``what`` returns.
    """
    try:
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - a file does not tell when it has changed
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {timeout} s: {what()}") from None
