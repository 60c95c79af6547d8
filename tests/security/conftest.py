"""An outbox, and a relay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailqueue.testing.fixtures import certificate_authority, relay, script, server_tls, start_relay
from tests.support.daemon import OutboxFile

__all__ = ["certificate_authority", "relay", "script", "server_tls", "start_relay"]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OutboxFile]:
    """An empty outbox in a file of its own."""
    outbox = OutboxFile(tmp_path / "outbox.db")
    yield outbox
    outbox.close()
