"""One look into the outbox: what is claimed at every opening, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from mailqueue.clock import Clock, microseconds
from mailqueue.daemon.bound import Bound
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.routing import Opening
from mailqueue.failpoint import reach
from mailqueue.mail.priority import Priority
from mailqueue.mail.value import value
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.due import have_due, next_due
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.proof import was_claimed


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be claimed, as things stood when it was made.

    The transaction runs in a thread of its own: it reads this and nothing that moves, but for
    the time. It may have waited for the database long after the plan was made, and a lease
    begins when it is taken. ``lease`` is its length in seconds.
    """

    openings: tuple[Opening, ...]
    messages: Bound
    octets: Bound
    worker: str
    lease: float
    clock: Clock

    @property
    def open_queues(self) -> tuple[str, ...]:
        """The relay names whose mail could be claimed, if there were any that is due."""
        nothing = Taking()
        return tuple(
            dict.fromkeys(one.queue for one in self.openings if nothing.room(self, one)[0] > 0)
        )


@value
class Taken:
    """A leased message, and the opening it was claimed for."""

    opening: Opening
    message: LeasedMessage


@dataclass(frozen=True, slots=True)
class Haul:
    """What a round brought; ``next_due`` is set only where that is nothing."""

    taken: tuple[Taken, ...]
    end: LeaseEnd
    next_due: int | None

    def proof(self) -> Callable[[Connection], bool] | None:
        """Return what looks whether the leases of this haul are in force; None without any."""
        if not self.taken:
            return None
        lease = self.taken[0].message.leases[0]
        return partial(was_claimed, lease=lease, until=self.end.wall)


class Taking:
    """What has been claimed so far in a round, and what that leaves."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._messages: Counter[str] = Counter()
        self._octets: Counter[str] = Counter()

    def room(self, plan: Plan, opening: Opening) -> tuple[int, int]:
        """Return for how many messages, of how many octets in all, there is room; or (0, 0)."""
        relay = opening.route.name
        left = plan.messages.left(relay, self._messages)
        messages = min(opening.room - self._messages[relay], left)
        octets = plan.octets.left(relay, self._octets)
        if plan.octets.has(relay, self._octets) == 0:
            # However much the others have in memory: one message costs little beside a relay
            # that stands still.
            octets = max(octets, 1)
        return (messages, octets) if messages > 0 and octets > 0 else (0, 0)

    def add(self, opening: Opening, messages: list[LeasedMessage]) -> None:
        """Note what was claimed at ``opening``."""
        relay = opening.route.name
        self._messages[relay] += len(messages)
        self._octets[relay] += sum(message.content.size for message in messages)
        self.taken.extend(Taken(opening, message) for message in messages)


def claim_round(connection: Connection, plan: Plan) -> Haul:
    """Claim at each opening what its route and the bounds leave room for.

    The most urgent mail of all names comes first, then the names in their turn: several of them
    may lead to one relay.
    """
    now, end = plan.clock.now(), LeaseEnd.after(plan.lease, plan.clock)
    taking = Taking()
    due = have_due(connection, [opening.queue for opening in plan.openings], now=now)
    for priority in Priority:
        for opening in plan.openings:
            messages, octets = taking.room(plan, opening)
            if not messages or (opening.queue, priority) not in due:
                continue
            wanted = Claim(
                relay=opening.queue,
                worker=plan.worker,
                messages=messages,
                octets=octets,
                now=now,
                until=end.wall,
                born_after=now - microseconds(opening.give_up),
                priority=priority,
            )
            taking.add(opening, claim(connection, wanted))
    if taking.taken:
        reach("before", "claim-commit")
        return Haul(tuple(taking.taken), end, None)
    return Haul((), end, next_due(connection, plan.open_queues, now=now))
