"""PostgreSQL is killed under load, again and again: whatever it acknowledged is sent."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import create_engine, text

from mailqueue import Outbox, OutboxError
from mailqueue.testing import Script, ScriptedRelay
from tests.support.postgres import PostgresServer
from tests.support.process import DaemonProcess
from tests.support.settings import leading_to
from tests.support.waiting import until
from tests.torture.tally import Tally

_PRODUCERS = 2
_PATIENCE = 60.0
_LIVE = "SELECT count(*) FROM mailqueue_recipients WHERE finished_at IS NULL"
_DOUBTS = """
SELECT r.address, count(*) AS doubts FROM mailqueue_attempts AS a
JOIN mailqueue_recipients AS r ON r.id = a.recipient_id
WHERE a.verdict = 'in-doubt' GROUP BY r.address
"""


def run(seed: int, seconds: float) -> Tally:
    """Kill for so many seconds. Raises `AssertionError` with the seed, and how to replay it."""
    end = time.monotonic() + seconds
    total, turn = Tally("postgres", "server kills", 0, 0, 0, 0), 0
    while turn == 0 or time.monotonic() < end:
        name = f"{seed}-{turn}"
        try:
            total += ordeal(name)
        except AssertionError as error:
            replay = f"python -c 'from tests.torture.postgres import *; ordeal(\"{name}\")'"
            raise AssertionError(f"postgres {name}: {error}\nreplay: {replay}") from error
        turn += 1
    return total


def ordeal(seed: str, *, kills: int = 5) -> Tally:
    """Let producers and a daemon work while the server is killed so often; then compare."""
    with PostgresServer() as server, tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_ordeal(server, Path(directory), Random(seed), kills))


@dataclass
class _Load:
    """Producers that never give a mail up: who got no answer asks again with the same key."""

    url: str
    acknowledged: list[str] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def has_more(self, count: int) -> Callable[[], bool]:
        """Return what tells whether so many more have been acknowledged from now on."""
        enough = len(self.acknowledged) + count
        return lambda: len(self.acknowledged) >= enough

    def start(self) -> None:
        for number in range(_PRODUCERS):
            self._threads.append(threading.Thread(target=self._produce, args=(number,)))
            self._threads[-1].start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _produce(self, number: int) -> None:
        with Outbox(self.url) as outbox:
            count = 0
            while not self._ending.is_set():
                address = f"p{number}-{count}@example.net"
                if self._stored(outbox, address):
                    self.acknowledged.append(address)
                    count += 1

    def _stored(self, outbox: Outbox, address: str) -> bool:
        raw = f"From: a@example.org\r\nTo: {address}\r\nSubject: load\r\n\r\nhello\r\n".encode()
        try:
            outbox.enqueue(raw, idempotency_key=address)
        except OutboxError:
            self._ending.wait(0.02)
            return False
        return True


async def _ordeal(server: PostgresServer, directory: Path, random: Random, kills: int) -> Tally:
    load = _Load(server.url)
    await asyncio.to_thread(lambda: Outbox(server.url).create())
    async with ScriptedRelay(Script()) as relay:
        settings = {
            "database": {"url": server.url},
            "daemon": {"lease": "2s", "heartbeat": "500ms", "poll": "100ms", "poll_max": "200ms"},
            "relays": {"main": leading_to(relay, connections=4)},
        }
        async with DaemonProcess(directory, settings) as daemon:
            await daemon.started()
            load.start()
            try:
                for _ in range(kills):
                    await _until(load.has_more(random.randint(5, 40)), daemon)
                    server.kill()
                    await asyncio.to_thread(server.restart)
            finally:
                await asyncio.to_thread(load.stop)
            await asyncio.to_thread(_until_sent, server.url, daemon)
            daemon.signal(signal.SIGTERM)
            status = await daemon.ended(timeout=_PATIENCE)
            assert status == os.EX_OK, f"the daemon ended with {status}: {daemon.log.read_text()}"
        return _compared(server.url, load.acknowledged, relay, kills)


async def _until(condition: Callable[[], bool], daemon: DaemonProcess) -> None:
    await until(condition, what=lambda: daemon.log.read_text()[-2000:], timeout=_PATIENCE)


def _until_sent(url: str, daemon: DaemonProcess) -> None:
    deadline = time.monotonic() + _PATIENCE
    engine = create_engine(url)
    with engine.connect() as connection:
        while connection.execute(text(_LIVE)).scalar():
            connection.rollback()
            assert time.monotonic() < deadline, daemon.log.read_text()[-2000:]
            time.sleep(0.05)
    engine.dispose()


def _compared(url: str, acknowledged: list[str], relay: ScriptedRelay, kills: int) -> Tally:
    engine = create_engine(url)
    with engine.connect() as connection:
        doubts = Counter({row.address: row.doubts for row in connection.execute(text(_DOUBTS))})
    engine.dispose()
    taken = Counter({address: relay.ledger.deliveries(address) for address in acknowledged})
    lost = [address for address in acknowledged if not taken[address]]
    assert not lost, f"lost: {lost}"
    often = {address: count for address, count in taken.items() if count > 1}
    unsaid = {address: count for address, count in often.items() if doubts[address] < count - 1}
    assert not unsaid, f"sent again without doubt on record: {unsaid}"
    return Tally(
        "postgres", "server kills", kills, len(often), doubts.total(), 0,
        Counter({"mails acknowledged": len(acknowledged)}),
    )  # fmt: skip
