"""Which relay takes the mail of which name, and what a reload keeps."""

from __future__ import annotations

from typing import Any

import pytest

from mailqueue.clock import FakeClock
from mailqueue.config import Config, RelaySettings
from mailqueue.daemon.keeper import LeaseEnd
from mailqueue.daemon.pulse import WINDOW
from mailqueue.daemon.routing import AHEAD_SECONDS, PER_SESSION, Routing
from mailqueue.errors import ConfigError
from mailqueue.outbox.pauses import Pause
from mailqueue.outbox.relays import RelayRow
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from tests.daemon.parts import config_for
from tests.support.leases import UNREACHABLE
from tests.support.rows import NOW, SECOND

HERE = {"host": "127.0.0.1", "port": 2525, "tls": "none", "pipelining": False}


def make_pool(settings: RelaySettings) -> Pool:
    """Make a pool of sessions that nobody opens."""
    return Pool(Relay(settings), clock=FakeClock())


def routing_for(**relays: dict[str, Any]) -> Routing:
    """Return the routing of these relays; the first is the default."""
    routing = Routing(make_pool)
    routing.configure(configured(**relays))
    return routing


def configured(**relays: dict[str, Any]) -> Config:
    """Return a configuration of these relays; the first is the default."""
    given = {name: HERE | keys for name, keys in relays.items()}
    return config_for(given, daemon={"default_relay": next(iter(relays))})


def places(routing: Routing, *, now: int = NOW) -> list[tuple[str, str, int, bool]]:
    """Return the openings as queue, relay, room and whether it is a probe."""
    return [
        (one.queue, one.route.name, one.room, one.is_probe) for one in routing.openings(now=now)
    ]


def pause(routing: Routing, name: str) -> None:
    """Let this relay meet trouble."""
    (route,) = [route for route in routing.routes if route.name == name]
    route.breaker.relay_trouble(UNREACHABLE, now=NOW, jitter=0.0)


def test_mail_goes_to_the_relay_of_its_name_and_default_to_the_default() -> None:
    """Both names lead to one relay and share its room, which is two messages for each session."""
    routing = routing_for(main={"connections": 3}, bulk={"connections": 1})
    assert places(routing) == [
        ("main", "main", 3 * PER_SESSION, False),
        ("bulk", "bulk", 1 * PER_SESSION, False),
        ("default", "main", 3 * PER_SESSION, False),
    ]


def test_where_a_message_can_stand_in_line_one_more_is_claimed() -> None:
    """One under way, one behind it with its envelope sent, and one that is ready to follow."""
    routing = routing_for(main={"connections": 3, "pipelining": True})
    assert {place[2] for place in places(routing)} == {3 * (PER_SESSION + 1)}


def test_a_fast_relay_gets_more_ahead_and_is_asked_for_in_batches() -> None:
    """What it takes in a quarter of a second; a claim for each answer would cost more than it."""
    routing = routing_for(main={"connections": 2})
    (route,) = routing.routes
    route.pulse.work(now=10.0)
    route.answered(1000, now=10.0)
    route.answered(0, now=10.0 + WINDOW)
    base, ahead = 2 * PER_SESSION, round(1000 / WINDOW * AHEAD_SECONDS)
    route.in_flight = base + ahead // 2 + 1
    assert not route.wants_more
    assert places(routing) == []
    route.in_flight -= 2
    assert route.wants_more
    assert route.room(now=NOW) == ahead - ahead // 2 + 1


def test_whoever_has_a_free_session_is_never_left_waiting_for_a_batch() -> None:
    """With a slow relay, each message that is answered makes room for another at once."""
    routing = routing_for(main={"connections": 2})
    (route,) = routing.routes
    route.in_flight = 2 * PER_SESSION - 1
    assert route.wants_more
    assert route.room(now=NOW) == 1


def test_mail_of_an_unknown_name_goes_nowhere() -> None:
    """It waits, by the global schedule."""
    routing = routing_for(main={"backoff": {"give_up": 99_999}})
    assert "typo" not in routing.queues
    assert routing.policy_of("typo").give_up == 432_000
    assert routing.policy_of("default").give_up == 99_999


def test_what_an_operator_paused_waits_and_goes_to_no_fallback() -> None:
    """Unlike a breaker, a pause is a decision that this mail shall wait."""
    routing = routing_for(main={"fallback": ["bulk"]}, bulk={})
    pause(routing, "main")
    routing.pauses = {"main": Pause(NOW, NOW + SECOND, "olga")}
    assert {(queue, relay) for queue, relay, *_ in places(routing)} == {("bulk", "bulk")}
    ended = places(routing, now=NOW + SECOND)
    assert ("main", "bulk") in {(queue, relay) for queue, relay, *_ in ended}


def test_a_fallback_that_an_operator_paused_is_passed_over() -> None:
    """It takes nobody's mail, and the next one stands in."""
    routing = routing_for(main={"fallback": ["bulk", "spare"]}, bulk={}, spare={})
    pause(routing, "main")
    routing.pauses = {"bulk": Pause(NOW, None, "olga")}
    found = {(queue, relay) for queue, relay, *_ in places(routing)}
    assert ("main", "spare") in found
    assert "bulk" not in {relay for _, relay in found}


def test_a_pause_holds_for_a_relay_that_is_configured_later() -> None:
    """It was decided by name, and a reload between two looks does not forget it."""
    routing = routing_for(main={})
    routing.pauses = {"bulk": Pause(NOW, None, "olga")}
    routing.configure(configured(main={}, bulk={}))
    assert {relay for _, relay, *_ in places(routing)} == {"main"}


def test_what_is_under_way_takes_room_and_what_settles_gives_it_back() -> None:
    """A successor is claimed while the result of the one before is committed."""
    routing = routing_for(main={"connections": 2})
    (route,) = routing.routes
    route.in_flight = 4
    assert places(routing) == []
    route.settling = 1
    assert places(routing)[0] == ("main", "main", 1, False)


def test_each_name_comes_first_in_its_turn() -> None:
    """Otherwise a busy name would have all sessions of a relay that two names lead to."""
    routing = routing_for(main={})
    seen = []
    for _ in range(4):
        seen.append([place[0] for place in places(routing)])
        assert [place[0] for place in places(routing)] == seen[-1]
        routing.turn()
    assert seen == [["main", "default"], ["default", "main"]] * 2


def test_a_breaker_begins_when_its_relay_is_first_in_force() -> None:
    """SQL shows since when it is closed, and a reload does not change that."""
    routing = routing_for(main={})
    routing.resume({}, now=NOW)
    routing.configure(configured(main={"connections": 1}, bulk={}))
    routing.begin(now=NOW + 9)
    assert [route.row().since for route in routing.routes] == [NOW, NOW + 9]


def test_a_fallback_stands_in_only_while_the_relay_is_paused() -> None:
    """In the order of the configuration, and no further than the first that is closed."""
    routing = routing_for(main={"fallback": ["spare", "last"]}, spare={}, last={})
    assert [place[:2] for place in places(routing)] == [
        ("main", "main"),
        ("spare", "spare"),
        ("last", "last"),
        ("default", "main"),
    ]
    pause(routing, "main")
    assert ("main", "spare", 20, False) in places(routing)
    assert ("main", "last", 20, False) not in places(routing)
    pause(routing, "spare")
    assert ("main", "last", 20, False) in places(routing)


def test_a_paused_relay_gets_one_probe_beside_its_fallback() -> None:
    """Or nobody would notice that it is back."""
    routing = routing_for(main={"fallback": ["spare"]}, spare={})
    pause(routing, "main")
    found = places(routing, now=NOW + 30 * SECOND)
    assert found[:2] == [("main", "main", 1, True), ("main", "spare", 20, False)]


def test_the_next_probe_is_the_earliest_that_is_still_to_come() -> None:
    """One that is due and found no mail is not waited for."""
    routing = routing_for(main={}, spare={"breaker": {"initial": 90}})
    assert routing.next_probe(after=NOW) is None
    pause(routing, "main")
    pause(routing, "spare")
    assert routing.next_probe(after=NOW) == NOW + 30 * SECOND
    assert routing.next_probe(after=NOW + 30 * SECOND) == NOW + 90 * SECOND


def test_a_reload_keeps_what_did_not_change() -> None:
    """Sessions, breaker and the count of what is under way live on."""
    routing = routing_for(main={}, bulk={})
    before = {route.name: (route, route.pool) for route in routing.routes}
    pause(routing, "main")
    retired = routing.configure(configured(main={}, bulk={"connections": 1}))
    after = {route.name: (route, route.pool) for route in routing.routes}
    assert after["main"] == before["main"]
    assert not after["main"][0].breaker.is_closed
    assert after["bulk"][0] is before["bulk"][0]
    assert retired == [before["bulk"][1]]
    bulk, pool = after["bulk"]
    assert not bulk.uses(retired[0])
    assert bulk.uses(pool)


def test_a_reload_that_changes_a_relay_keeps_its_breaker_and_its_count() -> None:
    """A new password does not make the old trouble forgotten, nor the sessions uncounted."""
    routing = routing_for(main={})
    (route,) = routing.routes
    route.in_flight = 3
    pause(routing, "main")
    routing.configure(configured(main={"connections": 4, "breaker": {"initial": 7}}))
    assert routing.routes == (route,)
    assert (route.in_flight, route.settings.connections) == (3, 4)
    assert route.breaker.settings.initial == 7
    assert not route.breaker.is_closed


def test_a_relay_that_is_gone_leaves_its_pool() -> None:
    """Its mail waits until it is configured again."""
    routing = routing_for(main={}, bulk={})
    route = routing.routes[1]
    route.in_flight = 1
    assert routing.configure(configured(main={})) == [route.pool]
    assert routing.queues == ("main", "default")
    assert not route.is_in_force
    assert routing.retired == (route,)
    route.in_flight = 0
    assert not routing.retired


def test_a_new_schedule_holds_for_a_relay_that_did_not_change() -> None:
    """The global backoff is not part of the relay's own settings."""
    routing = routing_for(main={})
    given = {"relays": {"main": HERE}, "backoff": {"initial": 7}}
    assert routing.configure(Config.model_validate(given)) == []
    assert routing.policy_of("main").initial == 7


def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    """All or nothing: a daemon never runs on half of a configuration."""
    routing = Routing(make_pool)
    routing.configure(configured(main={}))
    (route,) = routing.routes
    pool, settings = route.pool, route.settings

    def refuse(settings: RelaySettings) -> Pool:
        if settings.name == "bulk":
            raise ConfigError("ca_file cannot be read")
        return make_pool(settings)

    routing._make_pool = refuse
    with pytest.raises(ConfigError):
        routing.configure(configured(main={"connections": 1}, bulk={}))
    assert routing.routes == (route,)
    assert (route.pool, route.settings) == (pool, settings)


def test_breakers_are_taken_up_by_name() -> None:
    """Rows of relays that are no longer configured are left alone."""
    routing = routing_for(main={}, bulk={})
    rows = {name: RelayRow(name, "open", NOW, NOW, 1) for name in ("bulk", "gone")}
    routing.resume(rows, now=NOW)
    assert [route.breaker.is_closed for route in routing.routes] == [True, False]


def test_a_relay_of_which_others_have_all_gets_nothing_from_here() -> None:
    """However fast it was before: its mail goes to no fallback either, because the others send it,
    but for as long as its breaker is open.
    """
    routing = routing_for(main={"fallback": ["spare"]}, spare={})
    route = routing.routes[0]
    route.pulse.work(now=10.0)
    route.answered(1000, now=10.0)
    route.look_ahead(now=10.0 + WINDOW)
    assert route.ahead > 0
    route.pool.resize(0)
    assert not route.wants_more
    assert [place[0] for place in places(routing)] == ["spare"]
    pause(routing, "main")
    assert [place[:2] for place in places(routing)] == [
        ("main", "spare"),
        ("spare", "spare"),
        ("default", "spare"),
    ]


def test_a_share_that_is_over_is_let_go_of() -> None:
    """Whoever wakes up late finds no place in its pool, and nothing to claim for."""
    clock = FakeClock()
    route = routing_for(main={"connections": 2}).routes[0]
    assert route.has_share(clock)
    route.tenure = LeaseEnd.after(10.0, clock)
    assert route.has_share(clock)
    assert route.room(now=NOW) > 0
    clock.advance(10.0)
    assert not route.has_share(clock)
    assert (route.pool.limit, route.room(now=NOW)) == (0, 0)


def test_what_is_claimed_ahead_ends_with_the_pace_that_it_was_measured_by() -> None:
    """A relay that has fallen silent holds no more mail than its sessions can take on."""
    routing = routing_for(main={"connections": 2})
    (route,) = routing.routes
    route.pulse.work(now=10.0)
    route.answered(1000, now=10.0)
    route.look_ahead(now=10.0 + WINDOW)
    assert route.ahead > 0
    route.look_ahead(now=3600.0)
    assert route.room(now=NOW) == 2 * PER_SESSION
