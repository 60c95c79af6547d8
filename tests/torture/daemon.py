"""The daemon of a torture: ``mailqueue run``, with less time between its rounds of upkeep."""

from __future__ import annotations

import os
from pathlib import Path

# What `mailqueue run` loads when it needs it is loaded here, once, before anything is forked.
import mailqueue.assembly
import mailqueue.cli.run
import mailqueue.client.creation  # noqa: F401
from mailqueue import failpoint
from mailqueue.cli.main import cli
from mailqueue.daemon import janitor
from tests.torture.life import write_to

CLEAR_SECONDS = 0.4
SETTLE_SECONDS = 0.1


def serve(config: Path, log: Path, armed: str) -> None:
    """Be the daemon of ``config`` until told to stop, or until the fail point ``armed`` is met."""
    write_to(log)
    os.environ.pop("NOTIFY_SOCKET", None)
    janitor.CLEAR_SECONDS = CLEAR_SECONDS
    janitor.SETTLE_SECONDS = SETTLE_SECONDS
    failpoint.arm(armed)
    cli.main(["run", "--config", str(config)], prog_name="mailqueue")
