"""Which relay takes the mail of which name, and how much of it may be under way there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mailqueue.clock import Clock
from mailqueue.config import Config, RelaySettings
from mailqueue.daemon.breaker import Breaker
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.pulse import Pulse
from mailqueue.daemon.ration import Ration
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox.pauses import Pause
from mailqueue.outbox.relays import RelayRow
from mailqueue.outbox.tables import DEFAULT_RELAY
from mailqueue.smtp.pool import Pool

PER_SESSION = 2
"""How many messages are claimed for each session: one under way, one that is ready to follow.
Where that one stands in line already, its envelope behind the first one's final dot, another is
ready."""
AHEAD_SECONDS = 0.25
"""For how long the messages claimed beyond that last, at the pace at which the relay answers: so
that a fast one does not wait for the next claim, and a slow one holds nothing back."""


@dataclass(slots=True, eq=False)
class Route:
    """A relay as the dispatcher sees it: its sessions, its breaker, what is under way.

    ``settling``: how many of those in flight have their answer and wait for its commit; others
    may be claimed in their stead. ``octets``: how much content of them is in memory.
    ``is_in_force``: no reload has removed it.
    """

    settings: RelaySettings
    pool: Pool
    breaker: Breaker
    policy: Backoff
    in_flight: int = field(default=0, init=False)
    settling: int = field(default=0, init=False)
    octets: int = field(default=0, init=False)
    pulse: Pulse = field(default_factory=Pulse, init=False)
    ahead: int = field(default=0, init=False)
    """How many are claimed beyond what the sessions can take on at once."""
    is_in_force: bool = field(default=True, init=False)
    is_default: bool = field(default=False, init=False)
    tenure: LeaseEnd | None = field(default=None, init=False)
    """How long our share of the relay's limits lasts; None: it is nobody else's."""
    ration: Ration | None = field(default=None, init=False)
    """What we may offer of its rate; None: as much as it takes."""

    @property
    def name(self) -> str:
        """The relay's name in the configuration."""
        return self.settings.name

    @property
    def under_way(self) -> int:
        """How many messages have no answer yet."""
        return self.in_flight - self.settling

    def has_share(self, clock: Clock) -> bool:
        """Whether our share of the relay's limits lasts still; one that is over is let go of."""
        if self.tenure is None or self.tenure.is_to_come(clock):
            return True
        # Whoever slept past its end finds that others have it now.
        self.pool.resize(0)
        return False

    @property
    def places(self) -> int:
        """For how many messages its sessions have a place at once."""
        return self.settings.connections * (1 + self.settings.pipelining)

    def uses(self, pool: Pool) -> bool:
        """Whether new transactions may go through ``pool``: a reload may have replaced it."""
        return self.pool is pool and self.is_in_force

    def row(self) -> RelayRow:
        """Return the relay's condition as the row that SQL sees."""
        return replace(self.breaker.row(), is_default=self.is_default)

    @property
    def wants_more(self) -> bool:
        """Whether it is worth looking for more: not for each single message that was answered."""
        return self._most - self.under_way > self.ahead // 2

    @property
    def _most(self) -> int:
        if not self.pool.limit:
            # Others have all of it.
            return 0
        per_session = PER_SESSION + self.settings.pipelining
        return per_session * self.pool.limit + self.ahead

    def room(self, *, now: int) -> int:
        """Return how many more messages may be claimed for it at ``now`` (epoch microseconds)."""
        if not self.wants_more:
            return 0
        room = self.breaker.room(self.under_way, self._most, now=now)
        return room if self.ration is None else min(room, self.ration.room)

    def send_away(self) -> None:
        """Let nobody wait any longer for a session, or for leave by the rate."""
        self.pool.send_away()
        if self.ration is not None:
            self.ration.send_away()

    def take_on(self, octets: int, *, now: float) -> None:
        """Note that a message of so many octets has been claimed; ``now`` in monotonic seconds."""
        if not self.under_way:
            self.pulse.work(now=now)
        self.in_flight += 1
        self.octets += octets

    def hand_in(self, *, now: float) -> None:
        """Note that one has its answer, which is not written yet; ``now`` in monotonic seconds."""
        self.settling += 1
        if not self.under_way:
            self.pulse.rest(now=now)

    def answered(self, messages: int, *, now: float) -> None:
        """Note that it has answered; ``now`` in monotonic seconds."""
        self.pulse.beat(messages, now=now)
        self.look_ahead(now=now)

    def look_ahead(self, *, now: float) -> None:
        """Measure by its present pace how much is claimed beyond what the sessions can take on;
        ``now`` in monotonic seconds.
        """
        self.ahead = round(self.pulse.rate(now=now) * AHEAD_SECONDS)


@dataclass(frozen=True, slots=True)
class Opening:
    """Room for ``room`` messages of the mail named ``queue`` at ``route``.

    Several openings may lead to one route, and share its room. ``give_up`` is the age, in
    seconds, beyond which this mail is left to the janitor.
    """

    queue: str
    route: Route
    room: int
    is_probe: bool
    give_up: float


class Routing:
    """The configured relays, and the rule by which a fallback stands in."""

    def __init__(self, make_pool: Callable[[RelaySettings], Pool]) -> None:
        self._make_pool = make_pool
        self._routes: dict[str, Route] = {}
        self._retired: list[Route] = []
        self._default = DEFAULT_RELAY
        self._global = Backoff()
        self._turn = 0
        self.pauses: Mapping[str, Pause] = {}
        """What operators have paused, as it was last read, by the relay's name."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """All relays in force."""
        return tuple(self._routes.values())

    @property
    def retired(self) -> tuple[Route, ...]:
        """Relays that a reload removed, and that still have mail under way."""
        self._retired = [route for route in self._retired if route.in_flight]
        return tuple(self._retired)

    @property
    def queues(self) -> tuple[str, ...]:
        """The relay names that mail may carry: those configured, and ``default``."""
        return tuple(dict.fromkeys((*self._routes, DEFAULT_RELAY)))

    def configure(self, config: Config) -> list[Pool]:
        """Put ``config`` in force; returns the pools that it leaves without use.

        A relay whose settings did not change keeps its sessions, and each relay its breaker
        and the count of what is under way. Raises `ConfigError` and changes nothing where a
        relay's certificates cannot be used.
        """
        pools = {
            name: self._make_pool(settings)
            for name, settings in config.relays.items()
            if name not in self._routes or self._routes[name].settings != settings
        }
        replaced = [
            route.pool
            for name, route in self._routes.items()
            if name in pools or name not in config.relays
        ]
        for name in self._routes.keys() - config.relays.keys():
            self._routes[name].is_in_force = False
            self._retired.append(self._routes[name])
        self._routes = {
            name: self._route(settings, pools.get(name)) for name, settings in config.relays.items()
        }
        for name, route in self._routes.items():
            route.policy = backoff_of(config, name)
            route.is_default = name == config.default_relay.name
        self._default = config.default_relay.name
        self._global = _policy(config)
        return replaced

    def _route(self, settings: RelaySettings, pool: Pool | None) -> Route:
        """Return the route of this name with these settings; ``pool`` where they are new."""
        route = self._routes.get(settings.name)
        if pool is None:
            assert route is not None
            return route
        if route is None:
            return Route(settings, pool, Breaker(settings.name, settings.breaker), Backoff())
        route.settings, route.pool = settings, pool
        route.breaker.settings = settings.breaker
        return route

    def resume(self, rows: Mapping[str, RelayRow], *, now: int) -> None:
        """Take up the breakers as an earlier daemon left them; the others begin now."""
        for route in self.routes:
            if (row := rows.get(route.name)) is not None:
                route.breaker.resume(row, now=now)
        self.begin(now=now)

    def begin(self, *, now: int) -> None:
        """Let the breakers of relays that have just been configured begin."""
        for route in self.routes:
            route.breaker.begin(now=now)

    def is_paused(self, relay: str, *, now: int) -> bool:
        """Whether an operator lets nothing go to ``relay``."""
        pause = self.pauses.get(relay)
        return pause is not None and pause.lasts(now=now)

    def queues_of(self, route: Route) -> tuple[str, ...]:
        """Return the names of the mail that goes there as things stand."""
        return tuple(
            queue
            for queue in self.queues
            if (first := self._routes.get(self.relay_of(queue))) is not None
            and (
                first is route
                or (not first.breaker.is_closed and route.name in first.settings.fallback)
            )
        )

    def relay_of(self, queue: str) -> str:
        """Return the relay's name for mail that carries the name ``queue``."""
        return self._default if queue == DEFAULT_RELAY else queue

    def policy_of(self, queue: str) -> Backoff:
        """Return the backoff for mail of this name; the global one for an unknown name."""
        route = self._routes.get(self.relay_of(queue))
        return self._global if route is None else route.policy

    def openings(self, *, now: int) -> tuple[Opening, ...]:
        """Return where mail may be sent as things stand, in the order to look there.

        A fallback is among them only while the breaker before it is not closed. What is for a
        relay that an operator has paused waits for that relay, and goes to no fallback.
        """
        queues = self.queues
        first = self._turn % len(queues)
        return tuple(
            opening
            for queue in queues[first:] + queues[:first]
            for opening in self._openings(queue, now)
            if opening.room
        )

    def turn(self) -> None:
        """Let the next name come first, after mail has been claimed.

        Two names may lead to one relay: so among mail of one priority a busy name does not
        starve the other.
        """
        self._turn += 1

    def _openings(self, queue: str, now: int) -> Iterator[Opening]:
        for route in self._candidates(queue, now):
            is_probe = not route.breaker.is_closed
            give_up = self.policy_of(queue).give_up
            yield Opening(queue, route, route.room(now=now), is_probe, give_up)
            if not is_probe:
                return

    def _candidates(self, queue: str, now: int) -> Iterable[Route]:
        """The relay itself, then its fallbacks in order, each once; none that is paused."""
        route = self._routes.get(self.relay_of(queue))
        if route is None or self.is_paused(route.name, now=now):
            return
        yield route
        for name in route.settings.fallback:
            if not self.is_paused(name, now=now):
                yield self._routes[name]

    def is_barred(self, route: Route, *, now: int) -> bool:
        """Whether nothing may begin there now, so that whoever waits for it should go back."""
        return route.breaker.is_open or self.is_paused(route.name, now=now)

    def next_probe(self, *, after: int) -> int | None:
        """Return when the next breaker lets a probe through (epoch microseconds), or None."""
        times = (route.breaker.wakes_at() for route in self.routes)
        return min((at for at in times if at is not None and at > after), default=None)


def backoff_of(config: Config, relay: str) -> Backoff:
    """Return the schedule of one relay's mail as the pure floor wants it."""
    return Backoff(**config.backoff_for(relay).model_dump())


def _policy(config: Config) -> Backoff:
    return Backoff(**config.backoff.model_dump())
