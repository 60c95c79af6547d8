"""A server that is cut off, crowded, read-only, silent or at odds with us: the daemon goes on."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from mailqueue import (
    Outbox,
    OutboxBusyError,
    OutboxError,
    OutboxReadOnlyError,
    OutboxUnavailableError,
    Receipt,
)
from mailqueue.daemon import hangup, supervisor
from mailqueue.events import DatabaseRecovered, DatabaseTrouble, LeaseReaped, ResultRefused
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, Running, query, running, states
from tests.support.cutting import CuttingProxy
from tests.support.postgres import PostgresServer
from tests.support.process import DaemonProcess
from tests.support.settings import leading_to
from tests.support.waiting import until

PACE = {"poll": 0.1, "poll_max": 0.2}
_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    """The daemon's way to the outbox."""
    with CuttingProxy(url) as proxy:
        yield proxy


@pytest.fixture
def guest(url: str) -> Iterator[str]:
    """The outbox as it is reached by a role that may be kept out."""
    name = make_url(url).database
    query(url, f"CREATE ROLE guest_{name} LOGIN")
    query(url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO guest_{name}")
    query(url, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guest_{name}")
    yield make_url(url).set(username=f"guest_{name}").render_as_string(hide_password=False)
    query(url, _OTHERS)
    query(url, f"DROP OWNED BY guest_{name}")
    query(url, f"DROP ROLE guest_{name}")


def _role(guest: str) -> str:
    name = make_url(guest).username
    assert name is not None
    return name


async def _goes_on(
    daemon: Running, url: str, ended: Callable[[], Awaitable[object]], *, sent: int
) -> None:
    """See that the daemon meets trouble, outlives it and sends what is enqueued after it."""
    await until(lambda: bool(daemon.told(DatabaseTrouble)))
    await ended()
    await until(lambda: bool(daemon.told(DatabaseRecovered)))
    with Outbox(url) as outbox:
        await asyncio.to_thread(outbox.enqueue, RAW)
    await until(lambda: states(url) == {"sent": sent})
    assert not daemon.told(ResultRefused)
    assert not daemon.told(LeaseReaped)


async def test_connections_that_the_server_ends_under_load_cost_nothing(
    url: str, relay: ScriptedRelay
) -> None:
    """57P01: results wait for the next connection, and no mail goes out twice."""
    with Outbox(url) as outbox:
        outbox.enqueue_many([RAW] * 200)
        async with running(url, {"main": leading_to(relay)}, daemon=PACE) as daemon:
            for count in (20, 60, 100, 140):
                await relay.ledger.wait_for(count)
                await asyncio.to_thread(query, url, _OTHERS)
            await until(lambda: states(url) == {"sent": 200})
            assert not daemon.told(LeaseReaped)
    assert len(relay.ledger.accepted) == 200


async def test_a_server_with_too_many_connections_is_waited_for(
    url: str, guest: str, relay: ScriptedRelay
) -> None:
    """53300: the daemon waits for a connection; producers are told that nothing was stored."""
    async with running(guest, {"main": leading_to(relay)}, daemon=PACE) as daemon:
        await asyncio.to_thread(query, url, f"ALTER ROLE {_role(guest)} CONNECTION LIMIT 0")
        await asyncio.to_thread(query, url, _OTHERS)
        with Outbox(guest) as outbox, pytest.raises(OutboxUnavailableError, match="too many"):
            await asyncio.to_thread(outbox.enqueue, RAW)
        await _goes_on(
            daemon,
            url,
            lambda: asyncio.to_thread(query, url, f"ALTER ROLE {_role(guest)} CONNECTION LIMIT -1"),
            sent=1,
        )


async def test_a_server_that_takes_no_writes_is_left_for_one_that_does(
    url: str, guest: str, relay: ScriptedRelay
) -> None:
    """25006, as of a primary that was made a standby: each try begins with a new connection."""
    role = _role(guest)
    with Outbox(guest) as outbox:
        outbox.enqueue(RAW)
        async with running(guest, {"main": leading_to(relay)}, daemon=PACE) as daemon:
            await until(lambda: states(url) == {"sent": 1})
            await asyncio.to_thread(
                query, url, f"ALTER ROLE {role} SET default_transaction_read_only = on"
            )
            await asyncio.to_thread(query, url, _OTHERS)
            with pytest.raises(OutboxReadOnlyError, match="target_session_attrs"):
                await asyncio.to_thread(outbox.enqueue, RAW)
            await _goes_on(
                daemon,
                url,
                lambda: asyncio.to_thread(
                    query, url, f"ALTER ROLE {role} RESET default_transaction_read_only"
                ),
                sent=2,
            )
        outbox.enqueue(RAW)


async def test_a_server_that_falls_silent_is_hung_up_on(
    url: str, proxy: CuttingProxy, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that never comes, and no word that the connection is lost: it ends in time."""
    monkeypatch.setattr(hangup, "ANSWER_SECONDS", 0.3)
    async with running(proxy.url, {"main": leading_to(relay)}, daemon=PACE) as daemon:
        await daemon.looked()
        proxy.stall()

        async def flow() -> None:
            await asyncio.to_thread(proxy.stall, stalling=False)

        await _goes_on(daemon, url, flow, sent=1)
    assert len(relay.ledger.accepted) == 1


async def test_a_daemon_stops_in_order_while_the_server_is_away(
    url: str, proxy: CuttingProxy, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told to stop need not wait for a server that is not there."""
    monkeypatch.setattr(supervisor, "EXTEND_SECONDS", 0.2)
    async with running(proxy.url, {"main": leading_to(relay)}, daemon=PACE) as daemon:
        await daemon.listening()
        proxy.refuse()
        await until(lambda: bool(daemon.told(DatabaseTrouble)))


def test_transactions_that_the_server_sets_against_each_other_are_done_again(url: str) -> None:
    """40001 and 40P01 end a transaction for another's sake: nobody is told, all is stored once."""
    name = make_url(url).database
    query(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    receipts: list[Receipt] = []

    def enqueue() -> None:
        with Outbox(url) as outbox:
            receipts.extend(outbox.enqueue(RAW, idempotency_key=str(key)) for key in range(15))

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    query(url, f"ALTER DATABASE {name} RESET default_transaction_isolation")
    assert len(receipts) == 60
    assert sum(not receipt.duplicate for receipt in receipts) == 15
    assert query(url, "SELECT count(*) FROM mailqueue_messages") == [(15,)]


def test_a_pool_that_is_used_up_says_so(url: str) -> None:
    """Whoever waits for a connection of this process for too long hears whose fault it is."""
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with (
        Outbox(engine) as outbox,
        engine.connect(),
        pytest.raises(OutboxBusyError, match="connections of this process"),
    ):
        outbox.enqueue(RAW)
    engine.dispose()


def test_a_lock_that_somebody_keeps_is_an_error_of_its_own(url: str) -> None:
    """A statement that the server ends for the time it took has changed nothing."""
    engine = create_engine(url, connect_args={"options": "-c lock_timeout=50"})
    with Outbox(engine) as outbox:
        receipt = outbox.enqueue(RAW)
        holder = create_engine(url)
        with holder.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE mailqueue_messages IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(OutboxBusyError, match="within the time"):
                outbox.enqueue(RAW)
        holder.dispose()
        assert outbox.enqueue(RAW).id > receipt.id
    engine.dispose()


def test_a_role_without_rights_is_told_which(url: str, guest: str) -> None:
    """42501 names what the role needs."""
    query(url, f"REVOKE INSERT ON mailqueue_messages FROM {_role(guest)}")
    with Outbox(guest) as outbox, pytest.raises(OutboxReadOnlyError, match="the role needs"):
        outbox.enqueue(RAW)


def test_a_role_that_is_not_known_is_no_server_that_is_away(url: str) -> None:
    """What waiting does not mend is an error at once, also for a daemon that starts."""
    stranger = make_url(url).set(username="stranger").render_as_string(hide_password=False)
    with Outbox(stranger) as outbox, pytest.raises(OutboxError) as caught:
        outbox.enqueue(RAW)
    assert type(caught.value) is OutboxError
    assert "stranger" in str(caught.value)


@pytest.mark.slow
async def test_a_daemon_that_starts_before_the_server_waits_for_it(
    mortal: PostgresServer, relay: ScriptedRelay, tmp_path: Path
) -> None:
    """A machine that boots has them in any order, and nobody is there to start it again."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
        outbox.enqueue(RAW)
    mortal.kill()
    settings = {"database": {"url": mortal.url}, "relays": {"main": leading_to(relay)}}
    async with DaemonProcess(tmp_path, settings) as daemon:
        await daemon.logged("opening the outbox failed and will be tried again")
        await daemon.notifications.until_heard("EXTEND_TIMEOUT_USEC=")
        await asyncio.to_thread(mortal.restart)
        await daemon.started()
        await relay.ledger.wait_for(1)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0


@pytest.mark.slow
async def test_a_daemon_that_waits_for_the_server_can_be_stopped(
    mortal: PostgresServer, relay: ScriptedRelay, tmp_path: Path
) -> None:
    """Told to stop before it has begun, it ends in order."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
    mortal.kill()
    settings = {"database": {"url": mortal.url}, "relays": {"main": leading_to(relay)}}
    async with DaemonProcess(tmp_path, settings) as daemon:
        await daemon.logged("opening the outbox failed and will be tried again")
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    await asyncio.to_thread(mortal.restart)
