"""A transaction of the recorder's that is tried until it is written, and written once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from sqlalchemy import Connection

from mailqueue.errors import OutcomeUnknownError
from mailqueue.outbox.proof import was_recorded
from mailqueue.outbox.record import Result

T = TypeVar("T")
Proof = Callable[[Connection], bool]
"""Looks whether something is there that only one transaction can have written."""


@runtime_checkable
class Provable(Protocol):
    """What a work came to, where that can be looked for."""

    def proof(self) -> Proof | None:
        """Return what looks for it, or None where nothing was written."""
        ...


class Writes(Protocol):
    """Runs a function over a connection in one transaction, committed when it returns.

    Raises `OutboxError` where the database could not take it.
    """

    async def __call__(self, work: Callable[[Connection], T], /) -> T:
        """Run ``work`` and commit."""
        ...


class Attempt(Generic[T]):
    """One transaction. Called again after an error, it is tried again unless it was committed.

    ``proof`` names, for the value that it came to, what to look for; where it names nothing,
    doing it twice changes nothing.
    """

    def __init__(
        self,
        transaction: Writes,
        work: Callable[[Connection], T],
        proof: Callable[[T], Proof | None],
    ) -> None:
        self._transaction = transaction
        self._work = work
        self._proof = proof
        self._doubted: tuple[T, Proof] | None = None

    async def __call__(self) -> T:
        """Return what the work came to, once that is committed. Raises `OutboxError`."""
        if self._doubted is not None:
            value, proof = self._doubted
            if await self._transaction(proof):
                return value
            self._doubted = None
        try:
            return await self._transaction(self._work)
        except OutcomeUnknownError as unknown:
            written: Any = unknown.value
            if (found := self._proof(written)) is not None:
                self._doubted = written, found
            raise


def proof_of(
    values: Iterable[Any], results: Sequence[Result], refused: Iterable[Result]
) -> Proof | None:
    """Return what proves that ``values`` and ``results`` were written: one of them is enough."""
    for value in values:
        if isinstance(value, Provable) and (proof := value.proof()) is not None:
            return proof
    rejected = set(map(id, refused))
    for result in (*results, *_reaped(values)):
        if id(result) not in rejected:
            return partial(was_recorded, result=result)
    return None


def _reaped(values: Iterable[Any]) -> Iterator[Result]:
    for value in values:
        if isinstance(value, list):
            yield from (one for one in value if isinstance(one, Result))
