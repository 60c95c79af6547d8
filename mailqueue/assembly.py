"""The composition root: from a configuration to a daemon that is wired and not yet started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mailqueue.clock import Clock
from mailqueue.config import Config, Loaded, RelaySettings
from mailqueue.daemon.database import Database
from mailqueue.daemon.dispatcher import Dispatcher, Pace
from mailqueue.daemon.herald import Herald
from mailqueue.daemon.holding import Tenure
from mailqueue.daemon.janitor import DiskFloor, Janitor, Upkeep, floor_of
from mailqueue.daemon.keeper import Keeper
from mailqueue.daemon.listener import Listener
from mailqueue.daemon.pauses import Pauses
from mailqueue.daemon.rations import Rations
from mailqueue.daemon.reception import Reception
from mailqueue.daemon.recorder import SPACING_SECONDS, Recorder
from mailqueue.daemon.routing import Routing
from mailqueue.daemon.shares import Shares
from mailqueue.daemon.supervisor import Parts, Supervisor
from mailqueue.daemon.systemd import Notifier
from mailqueue.events import Emit
from mailqueue.events import log as event_log
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.location import database_path, is_pooled
from mailqueue.outbox.locks import WorkerLock
from mailqueue.outbox.moment import clock_for
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay

_POLL_JITTER = 0.2
"""Daemons on many hosts are woken by one NOTIFY, and are not to look again all at once."""


def assemble(
    loaded: Loaded,
    *,
    reload: Callable[[], Loaded] | None = None,
    clock: Clock | None = None,
    emit: Emit = event_log.write,
) -> Supervisor:
    """Wire a daemon as ``loaded`` says; ``reload`` reads the configuration anew on SIGHUP.

    Must be called in the event loop that will run it.
    """
    config = loaded.config
    clock = clock or clock_for(config.database.url)
    parts = _parts(config, clock, emit)
    return Supervisor(
        loaded,
        parts,
        reload=reload or (lambda: loaded),
        apply=lambda changed: _apply(changed, parts),
        clock=clock,
        emit=emit,
    )


def _parts(config: Config, clock: Clock, emit: Emit) -> Parts:
    worker = clock.token()
    url = config.database.url
    path = database_path(url)
    database = Database(url, busy_timeout=config.database.busy_timeout, clock=clock)
    recorder = Recorder(database.write, clock, emit)
    routing = _routing(config, clock, emit)
    keeper = Keeper(
        worker,
        recorder,
        heartbeat=config.daemon.heartbeat,
        lease=config.daemon.lease,
        clock=clock,
        emit=emit,
    )
    reception = Reception(recorder, clock, emit)
    dispatcher = Dispatcher(
        routing, recorder, keeper, reception, pace=_pace(config), clock=clock, emit=emit
    )
    # With nothing under way there is nobody who could be in the writer's way.
    database.is_loop_busy = lambda: dispatcher.in_flight > 0
    janitor = Janitor(
        recorder,
        dispatcher,
        database,
        upkeep=_upkeep(config, path),
        path=path,
        clock=clock,
        emit=emit,
    )
    notifier = Notifier(clock)
    return Parts(
        worker=worker,
        database=database,
        recorder=recorder,
        routing=routing,
        keeper=keeper,
        dispatcher=dispatcher,
        janitor=janitor,
        pauses=Pauses(dispatcher, database, clock=clock, emit=emit),
        rations=Rations(dispatcher, database, clock=clock, emit=emit),
        shares=Shares(
            dispatcher,
            database,
            worker,
            tenure=_tenure(config, path),
            path=path,
            clock=clock,
            emit=emit,
            siblings=config.daemon.processes - 1,
        ),
        herald=Herald(notifier, dispatcher, recorder, database, clock=clock, emit=emit),
        notifier=notifier,
        lock=None if path is None else WorkerLock(path, worker),
        doorbell=None if path is None else Doorbell(path, worker, rest=SPACING_SECONDS),
        listener=_listener(config, path, clock, emit),
    )


def _routing(config: Config, clock: Clock, emit: Emit) -> Routing:
    def make_pool(settings: RelaySettings) -> Pool:
        pool = Pool(Relay(settings), clock=clock, emit=emit)
        # It may open what our share allows, and we have none yet.
        pool.resize(0)
        return pool

    routing = Routing(make_pool)
    routing.configure(config)
    return routing


def _listener(config: Config, path: Path | None, clock: Clock, emit: Emit) -> Listener | None:
    if path is not None or not _is_rung(config):
        return None
    return Listener(config.database.url, clock=clock, emit=emit)


def _is_rung(config: Config) -> bool:
    """Whether somebody rings whom this daemon can hear over PostgreSQL."""
    return config.database.notify and not is_pooled(config.database.url)


def _pace(config: Config) -> Pace:
    daemon, database = config.daemon, config.database
    if database_path(database.url) is not None:
        return Pace(deliveries=daemon.deliveries, poll=daemon.poll, poll_max=daemon.poll_max)
    # Where nobody rings, mail is found by looking, so the pause between two looks does not grow.
    poll_max = daemon.poll_max if _is_rung(config) else daemon.poll
    return Pace(daemon.deliveries, daemon.poll, poll_max, jitter=_POLL_JITTER)


def _tenure(config: Config, path: Path | None) -> Tenure:
    daemon = config.daemon
    return Tenure.of(daemon.lease, daemon.heartbeat, has_locks=path is not None)


def _upkeep(config: Config, path: Path | None) -> Upkeep:
    disk = None if path is None else DiskFloor(path.parent, floor_of(config.limits.free_disk))
    return Upkeep(config.retention.contents, config.retention.messages, disk)


def _apply(config: Config, parts: Parts) -> None:
    """Put in force what a reload may change besides the relays."""
    parts.dispatcher.pace = _pace(config)
    parts.keeper.heartbeat = config.daemon.heartbeat
    parts.keeper.lease = config.daemon.lease
    parts.shares.tenure = _tenure(config, database_path(config.database.url))
    parts.janitor.upkeep = _upkeep(config, database_path(config.database.url))
    event_log.LOGGER.setLevel(config.log.level.upper())
