"""Each relay, by a session that goes as far as AUTH and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mailqueue.cli.doctor.finding import Finding, well, wrong
from mailqueue.cli.output import duration, one_line
from mailqueue.cli.thresholds import said_size
from mailqueue.cli.verdicts import keys_to_look_at
from mailqueue.clock import SystemClock
from mailqueue.config import Config, RelaySettings
from mailqueue.errors import ConfigError
from mailqueue.mail.reply import Evidence
from mailqueue.mail.verdict import judge
from mailqueue.smtp import Relay, Session, SessionFacts, open_session


def reached(config: Config, *, timeout: float) -> Iterator[Finding]:
    """Yield how each relay in ``config`` answers; ``timeout`` in seconds, for each of them."""
    yield from asyncio.run(_reached([*config.relays.values()], timeout))


async def _reached(relays: list[RelaySettings], timeout: float) -> list[Finding]:
    return [*await asyncio.gather(*(_tried(relay, timeout) for relay in relays))]


async def _tried(settings: RelaySettings, timeout: float) -> Finding:
    what, place = f"relay {settings.name}", f"{settings.host} port {settings.effective_port}"
    try:
        async with asyncio.timeout(timeout):
            opened = await open_session(Relay(settings), clock=SystemClock())
            if isinstance(opened, Session):
                await opened.quit()
    except TimeoutError:
        text = f"{place} did not answer within {duration(timeout)}"
        return wrong(what, text, f"look at host and port under [relays.{settings.name}]")
    except ConfigError as error:
        return wrong(what, str(error), "correct the configuration")
    if isinstance(opened, Evidence):
        return _refused(what, place, opened, settings.name)
    return well(what, _said(opened.facts, settings))


def _refused(what: str, place: str, evidence: Evidence, name: str) -> Finding:
    keys = keys_to_look_at(evidence, judge(evidence))
    remedy = f"look at {keys} under [relays.{name}]" if keys else "ask whoever runs it"
    text = f"{place}, at {evidence.stage}: {one_line(str(evidence.answer))}"
    return wrong(what, text, f"{remedy}; `mailqueue send` shows the conversation")


def _said(facts: SessionFacts, settings: RelaySettings) -> str:
    parts = (
        facts.peer,
        facts.tls or "without TLS",
        f"AUTH as {settings.username}" if settings.auth != "none" else "without AUTH",
        "no size limit" if facts.size_limit is None else f"up to {said_size(facts.size_limit)}",
    )
    return ", ".join(parts)
