"""Whole transactions again until the database takes them. Mail is retried by rows, and not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_never

from mailqueue.errors import OutboxError, OutboxFencedError
from mailqueue.outbox.patience import PATIENCE, Patience

T = TypeVar("T")


def _may_pass(error: BaseException) -> bool:
    # A fence may stand for good, and nothing that was refused by it is owed to anybody.
    return isinstance(error, OutboxError) and not isinstance(error, OutboxFencedError)


async def until_taken(
    transaction: Callable[[], Awaitable[T]],
    *,
    sleep: Callable[[float], Awaitable[None]],
    jitter: Callable[[], float],
    refused: Callable[[OutboxError], None],
    patience: Patience = PATIENCE,
) -> T:
    """Run ``transaction`` until the database takes it, and return its value.

    For writes that change nothing when they are done twice, or that find out whether they were
    done: of a connection that broke at COMMIT nobody knows whether it was carried out.
    ``refused`` hears of each failure; anything but an `OutboxError` is raised,
    and so is `OutboxFencedError`.
    """

    # The first try costs no more than itself: a busy writer makes a hundred in a second.
    try:
        return await transaction()
    except OutboxError as error:
        failed: OutboxError | None = error

    async def again() -> T:
        nonlocal failed
        if failed is not None:
            first, failed = failed, None
            raise first
        return await transaction()

    return await _retrying(sleep, jitter, refused, patience)(again)


def _retrying(
    sleep: Callable[[float], Awaitable[None]],
    jitter: Callable[[], float],
    refused: Callable[[OutboxError], None],
    patience: Patience,
) -> AsyncRetrying:
    def wait(state: RetryCallState) -> float:
        return patience.delay(state.attempt_number, jitter())

    def tell(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, OutboxError):
            refused(error)

    return AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(_may_pass),
        stop=stop_never,
        wait=wait,
        before_sleep=tell,
        reraise=True,
    )
