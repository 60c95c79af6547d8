"""One look into the outbox: what is claimed at every opening, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection

from mailqueue.clock import microseconds
from mailqueue.daemon.routing import Opening
from mailqueue.failpoint import reach
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.due import next_due
from mailqueue.outbox.lease import LeasedMessage


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be claimed, as things stood when it was made.

    The transaction runs in a thread of its own: it reads this and nothing that moves.
    ``messages`` and ``octets`` bound all openings together; ``queues`` are the relay names
    whose next due time is of interest. Instants in epoch microseconds.
    """

    openings: tuple[Opening, ...]
    queues: tuple[str, ...]
    worker: str
    messages: int
    octets: int
    now: int
    until: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased message, and the opening it was claimed for."""

    opening: Opening
    message: LeasedMessage


@dataclass(frozen=True, slots=True)
class Haul:
    """What a round brought; ``next_due`` is set only where that is nothing."""

    taken: tuple[Taken, ...]
    until: int
    next_due: int | None


def claim_round(connection: Connection, plan: Plan) -> Haul:
    """Claim at each opening what its route and the bounds leave room for."""
    taken: list[Taken] = []
    at: Counter[str] = Counter()
    octets = plan.octets
    for opening in plan.openings:
        room = min(opening.room - at[opening.route.name], plan.messages - len(taken))
        if room <= 0 or octets <= 0:
            continue
        messages = claim(connection, _wanted(plan, opening, messages=room, octets=octets))
        at[opening.route.name] += len(messages)
        octets -= sum(message.content.size for message in messages)
        taken.extend(Taken(opening, message) for message in messages)
    if taken:
        reach("before", "claim-commit")
    due = None if taken else next_due(connection, plan.queues, now=plan.now)
    return Haul(tuple(taken), plan.until, due)


def _wanted(plan: Plan, opening: Opening, *, messages: int, octets: int) -> Claim:
    return Claim(
        relay=opening.queue,
        worker=plan.worker,
        messages=messages,
        octets=octets,
        now=plan.now,
        until=plan.until,
        born_after=plan.now - microseconds(opening.give_up),
    )
