"""A live outbox on the move: daemons send, producers enqueue, and nobody waits for the copy."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailqueue import Outbox, OutboxBusyError, OutboxFencedError
from mailqueue.failpoint import VARIABLE
from mailqueue.testing import Script, ScriptedRelay
from tests.copying.conftest import MakeUrl
from tests.copying.places import ask, opened
from tests.support.process import ROOT, DaemonProcess
from tests.support.settings import leading_to
from tests.support.waiting import until

pytestmark = pytest.mark.slow

WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite")]
PACE = {"poll": "100ms", "poll_max": "250ms", "lease": "3s", "heartbeat": "500ms"}
LIVE = "SELECT count(*) FROM mailqueue_recipients WHERE finished_at IS NULL"


@dataclass
class Producers:
    """Two threads that enqueue without a pause, and go to the new place when told so."""

    place: str
    new_place: str
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        for number in range(2):
            self._threads.append(threading.Thread(target=self._produce, args=(number,)))
            self._threads[-1].start()

    def stop(self) -> None:
        """End, each when its mail is stored."""
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def _produce(self, number: int) -> None:
        with Outbox(self.place) as old, Outbox(self.new_place) as new:
            outboxes, count = [old, new], 0
            while not self._ending.is_set():
                address = f"p{number}-{count}@example.net"
                raw = f"From: a@example.org\r\nTo: {address}\r\n\r\nhello\r\n".encode()
                try:
                    outboxes[0].enqueue(raw, idempotency_key=address)
                except OutboxFencedError:
                    # Refused by the old place: there is no way back. By the new one: not yet.
                    self.refused += 1
                    if len(outboxes) == 2 and ask_fence(self.place) == "moved":
                        outboxes.pop(0)
                    self._ending.wait(0.05)
                except OutboxBusyError:
                    self._ending.wait(0.01)
                else:
                    self.acknowledged.append(address)
                    count += 1
                    self._ending.wait(0.002)


def ask_fence(url: str) -> str:
    """Return the phase of the fence."""
    return str(ask(url, "SELECT phase FROM mailqueue_fence"))


async def _copy(source: str, target: str, *, fail: str = "") -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({VARIABLE: fail} if fail else {})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mailqueue", "db", "copy", "--database", source, "--to", target),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize(
    "fail", ["", "after-copy-batch-commit:2:kill", "after-copy-moved-commit:1:kill"]
)
async def test_every_acknowledged_mail_arrives_once_from_whichever_side(
    tmp_path: Path, make_url_of: MakeUrl, way: tuple[str, str], fail: str
) -> None:
    """Through the fence, a copy that is killed, and the daemon of the target that starts early."""
    source, target = map(make_url_of, way)
    with opened(source, create=True):
        pass
    script = Script()
    # So slow that the fence meets mail at every stage.
    script.on(".").delay(0.02)
    producers = Producers(source, target)
    async with ScriptedRelay(script) as relay:
        settings = _settings(source, relay)
        async with DaemonProcess(tmp_path, settings, name="old") as old:
            await old.started()
            producers.start()
            try:
                await until(lambda: len(producers.acknowledged) > 200)
                if fail:
                    assert await _copy(source, target, fail=fail) == -signal.SIGKILL
                assert await _copy(source, target) == 0
                moved = len(producers.acknowledged)
                async with DaemonProcess(tmp_path, _settings(target, relay), name="new") as new:
                    await new.started()
                    await until(lambda: len(producers.acknowledged) > moved + 100)
                    await asyncio.to_thread(producers.stop)
                    await until(lambda: ask(target, LIVE) == 0, timeout=60)
                    new.signal(signal.SIGTERM)
                    assert await new.ended() == 0
            finally:
                await asyncio.to_thread(producers.stop)
            old.signal(signal.SIGTERM)
            assert await old.ended() == 0
            assert "nothing is claimed: the outbox is being moved to" in old.log.read_text()
            assert "unexpected" not in old.log.read_text()
    assert producers.refused
    _compare(target, producers.acknowledged, relay)


def _settings(url: str, relay: ScriptedRelay) -> dict[str, Any]:
    return {
        "database": {"url": url},
        "daemon": PACE,
        "limits": {"free_disk": 0},
        "relays": {"main": leading_to(relay, connections=4)},
    }


def _compare(url: str, acknowledged: list[str], relay: ScriptedRelay) -> None:
    doubts = Counter[str]()
    query = (
        "SELECT r.address FROM mailqueue_attempts AS a JOIN mailqueue_recipients AS r "
        "ON r.id = a.recipient_id WHERE a.verdict = 'in-doubt'"
    )
    with opened(url) as engine, engine.connect() as connection:
        doubts.update(connection.scalars(text(query)))
    taken = {address: relay.ledger.deliveries(address) for address in acknowledged}
    assert not [address for address, count in taken.items() if not count]
    assert not {address: count for address, count in taken.items() if count > 1 + doubts[address]}
