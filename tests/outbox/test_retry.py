from __future__ import annotations

import pytest

from mailqueue.errors import OutboxBusyError, OutboxError, OutboxFencedError, OutboxFullError
from mailqueue.outbox.patience import Patience
from mailqueue.outbox.retry import until_taken


class Transaction:
    """Raises the given errors, one for each run, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.runs = 0

    async def __call__(self) -> str:
        self.runs += 1
        if self._errors:
            raise self._errors.pop(0)
        return "stored"


class Waits:
    """Notes each wait instead of waiting, and each refusal that was told."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refusals: list[str] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def refused(self, error: OutboxError) -> None:
        self.refusals.append(str(error))


async def test_a_refused_transaction_is_tried_again_after_growing_waits() -> None:
    """The whole transaction runs again, later each time, until the database takes it."""
    transaction = Transaction(OutboxBusyError("busy"), OutboxFullError("full"))
    waits = Waits()

    value = await until_taken(
        transaction, sleep=waits.sleep, jitter=lambda: 0.0, refused=waits.refused
    )

    assert value == "stored"
    assert waits.seconds == [0.1, 0.2]
    assert waits.refusals == ["busy", "full"]


async def test_patience_does_not_run_out() -> None:
    """A result that is known is written, however long the database refuses."""
    transaction = Transaction(*(OutboxBusyError("busy") for _ in range(2000)))
    waits = Waits()

    await until_taken(transaction, sleep=waits.sleep, jitter=lambda: 0.0, refused=waits.refused)

    assert transaction.runs == 2001
    assert waits.seconds[-1] == Patience().maximum


async def test_anything_else_is_raised_at_once() -> None:
    """What is no refusal of the database is a bug, and another try would not mend it."""
    transaction = Transaction(KeyError("a bug"))
    waits = Waits()

    with pytest.raises(KeyError):
        await until_taken(transaction, sleep=waits.sleep, jitter=lambda: 0.0, refused=waits.refused)
    assert (transaction.runs, waits.seconds) == (1, [])


@pytest.mark.parametrize(
    ("tried", "jitter", "expected"),
    [
        (1, 0.0, 0.1),
        (2, 0.0, 0.2),
        (3, 0.0, 0.4),
        (5, 0.0, 1.6),
        (6, 0.0, 2.0),
        (5000, 0.0, 2.0),
        (1, 0.5, 0.075),
        (100, 1.0, 1.0),
    ],
)
def test_waits_double_up_to_a_bound_and_are_spread(
    tried: int, jitter: float, expected: float
) -> None:
    """The wait after a try doubles up to its bound, and loses up to half of itself to chance."""
    assert Patience().delay(tried, jitter) == pytest.approx(expected)


async def test_what_a_fence_has_refused_is_not_tried_again() -> None:
    """A fence may stand for good; who waited for its end would hold up all that comes after."""
    transaction = Transaction(OutboxFencedError("moved", "sqlite:////other.db"))
    waits = Waits()
    with pytest.raises(OutboxFencedError):
        await until_taken(transaction, sleep=waits.sleep, jitter=float, refused=waits.refused)
    assert (transaction.runs, waits.seconds, waits.refusals) == (1, [], [])
