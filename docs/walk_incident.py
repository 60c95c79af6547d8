"""Walks one incident with a real daemon and relay, and writes what the commands say into
docs/operations.md.

Run ``python -m docs.walk_incident`` in the checkout after a change to what the commands print.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from email.message import EmailMessage
from pathlib import Path

from mailqueue import Outbox
from mailqueue.testing import ScriptedRelay

PAGE = Path(__file__).with_name("operations.md")
BEGIN, END = "<!-- incident: written by docs/walk_incident.py -->\n", "<!-- /incident -->"
MAILS = 3
PATIENCE = 30.0
"""Seconds that each step of the incident may take."""

_SETTINGS = """
[database]
url = "sqlite:///{directory}/outbox.db"
[daemon]
poll = "100ms"
poll_max = "200ms"
[limits]
free_disk = 0
[relays.main]
host = "{host}"
port = {port}
tls = "none"
username = "shop"
password_file = "{directory}/smtp-password"
local_hostname = "mail.example.org"
connections = 1
"""

# What differs between two walks of the same incident, and what stands for it.
_CHANGING = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-11-23T09:00:00Z"),
    (r"<[0-9a-f]+@", "<80956e85cc26b10c@"),
    (r" \| oldest=.*", " | ..."),
    (r"(?<=disk: ).* free", "38.2 GiB free"),
    (r"(?<=log has ).*", "120.0 KiB"),
    (r"\b\d+s(?= ago)|(?<=for )\d+s\b", "2s"),
    (r"(?<=\(in )\d+s\b", "28s"),
    (r"(?<=\(in )\d+d(?: \d+h)?", "4d 23h"),
)


class Walk:
    """One incident in ``directory``: `transcript` has each command and what it said."""

    def __init__(self, directory: Path, relay: ScriptedRelay) -> None:
        self.transcript: list[str] = []
        self._directory = directory
        self._relay = relay
        self._password = directory / "smtp-password"
        self._environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PAGE.parents[1])}
        self._environ["MAILQUEUE_CONFIG"] = str(directory / "config.toml")

    async def go(self) -> None:
        """Let it happen: wrong password, check, explain, the right one, SIGHUP, drained."""
        self._prepare()
        daemon = await self._start("run")
        try:
            await self._until("SELECT count(*) FROM mailqueue_relays WHERE code = 535", 1)
            await self._show("check --crit paused=1s", wait_for="CRITICAL")
            await self._show("relays")
            await self._show("explain 1")
            await self._show('explain "535 5.7.8 authentication credentials invalid"')
            self._say("install -m 0400 -o mailqueue right-password /etc/mailqueue/smtp-password")
            self._password.write_text("right\n", encoding="utf-8")
            self._say("systemctl reload mailqueue")
            daemon.send_signal(signal.SIGHUP)
            sent = "SELECT count(*) FROM mailqueue_recipients WHERE state = 'sent'"
            await self._until(sent, MAILS)
            await self._show("check --crit paused=1s", wait_for="OK")
            await self._show(
                'sql "SELECT state, count(*) AS n FROM mailqueue_recipients GROUP BY 1"'
            )
        finally:
            daemon.terminate()
            await daemon.wait()

    def _prepare(self) -> None:
        settings = _SETTINGS.format(
            directory=self._directory, host=self._relay.host, port=self._relay.port
        )
        for path, text in (
            (self._directory / "config.toml", settings),
            (self._password, "wrong\n"),
        ):
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        with Outbox(f"sqlite:///{self._directory}/outbox.db") as outbox:
            for number in range(MAILS):
                outbox.enqueue(_order(number))

    async def _start(self, command: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailqueue", *shlex.split(command)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE if command != "run" else asyncio.subprocess.DEVNULL,
            stderr=STDOUT,
            env=self._environ,
        )

    async def _ask(self, command: str) -> str:
        process = await self._start(command)
        said, _ = await process.communicate()
        return said.decode()

    async def _show(self, command: str, *, wait_for: str = "") -> None:
        async with asyncio.timeout(PATIENCE):
            while wait_for not in (said := await self._ask(command)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        self._say(f"mailqueue {command}", said)

    async def _until(self, question: str, count: int) -> None:
        # What happens in another process rings no event here.
        async with asyncio.timeout(PATIENCE):
            while str(count) not in (await self._ask(f'sql "{question}"')).split():  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    def _say(self, command: str, said: str = "") -> None:
        said = said.replace(str(self._directory), "/var/lib/mailqueue")
        for pattern, usual in _CHANGING:
            said = re.sub(pattern, usual, said)
        self.transcript.append(f"$ {command}\n{said.rstrip()}".rstrip() + "\n")


def _order(number: int) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.org"
    message["To"] = f"customer{number}@example.net"
    message["Subject"] = f"Your order {number}"
    message.set_content("It is on its way.\n")
    return message


async def walk() -> str:
    """Return the transcript of one incident, with what differs between two of them made usual."""
    relay = ScriptedRelay(users={"shop": "right"}, require_auth=True)
    with tempfile.TemporaryDirectory(prefix="incident") as directory:
        async with relay:
            incident = Walk(Path(directory), relay)
            await incident.go()
    return "\n".join(incident.transcript)


def put(page: str, transcript: str) -> str:
    """Return ``page`` with ``transcript`` between its marks."""
    before, begins, rest = page.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise ValueError(f"{PAGE} has lost the marks {BEGIN.strip()} and {END}")
    return f"{before}{begins}\n```console\n{transcript}```\n\n{ends}{after}"


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(put(PAGE.read_text("utf-8"), asyncio.run(walk())), encoding="utf-8")


if __name__ == "__main__":
    main()
