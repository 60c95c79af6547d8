"""Trouble that is not the mail's: the relay is paused and probed, and the mail costs nothing."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailqueue import events
from mailqueue.mail.priority import Priority
from mailqueue.testing import Rule, Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.acceptance.plays import ANN, Play, left_over, says
from tests.support.daemon import PassingClock, PlainOutbox, Settings, leading_to, running

if TYPE_CHECKING:
    import trustme

PAUSE = 30.0
"""The first pause of a breaker, by default."""
BACKOFF = 300.0
"""The first pause of a mail, by default."""


@dataclass(frozen=True)
class Trouble:
    """What a relay does before it takes any mail. ``stage`` and ``code`` are what SQL shows."""

    name: str
    at: str
    play: Play
    stage: str
    code: int | None = None
    keys: Settings = field(default_factory=dict)

    @property
    def is_before_mail(self) -> bool:
        """Whether the relay has heard nothing of the mail."""
        return self.stage not in ("mail", "rcpt", "data")


def _in_the_clear() -> Iterator[Trouble]:
    yield Trouble("554 greeting", "CONNECT", says("554 go away"), "greeting", 554)
    yield Trouble("421 greeting", "CONNECT", says("421 busy"), "greeting", 421)
    yield Trouble("garbage for a greeting", "CONNECT", says("SSH-2.0-x"), "greeting")
    yield Trouble("close in place of a greeting", "CONNECT", Rule.close, "greeting")
    impatient = {"timeouts": {"greeting": 0.3}}
    yield Trouble("no greeting", "CONNECT", Rule.silence, "greeting", keys=impatient)
    yield Trouble("450 to EHLO", "EHLO", says("450 no"), "ehlo", 450)
    yield Trouble("close at EHLO", "EHLO", Rule.close, "ehlo")
    yield Trouble("left-over bytes at EHLO", "EHLO", left_over, "ehlo")
    yield Trouble("421 to MAIL", "MAIL", says("421 no"), "mail", 421)
    for at in ("MAIL", "RCPT", "DATA"):
        for code in (530, 534, 535, 538):
            yield Trouble(f"{code} to {at}", at, says(f"{code} no"), at.lower(), code)
    text = "550 Please authenticate first"
    yield Trouble("to MAIL: authenticate first", "MAIL", says(text), "mail", 550)


def _in_tls() -> Iterator[Trouble]:
    yield Trouble("454 to STARTTLS", "STARTTLS", says("454 no"), "starttls", 454)
    yield Trouble("554 to STARTTLS", "STARTTLS", says("554 no"), "starttls", 554)
    yield Trouble("close in the handshake", "TLS", Rule.close, "starttls")
    yield Trouble("454 to AUTH", "AUTH", says("454 no"), "auth", 454)
    yield Trouble("535 to AUTH", "AUTH", says("535 no"), "auth", 535)
    yield Trouble("close at AUTH", "AUTH", Rule.close, "auth")
    login = {"auth": "login"}
    yield Trouble("535 after AUTH LOGIN", "CREDENTIALS", says("535 no"), "auth", 535, login)


@pytest.fixture
async def strict_relay(
    script: Script, server_tls: ssl.SSLContext, start_relay: StartRelay
) -> ScriptedRelay:
    """A relay that takes mail inside TLS from a known user only."""
    users = {"user": "secret"}
    relay = ScriptedRelay(script, tls=server_tls, users=users, require_tls=True, require_auth=True)
    return await start_relay(relay)


@pytest.fixture
def secured(certificate_authority: trustme.CA, tmp_path: Path) -> Settings:
    """The settings that `strict_relay` asks for."""
    ca_file = tmp_path / "ca.pem"
    certificate_authority.cert_pem.write_to_path(str(ca_file))
    return {
        "tls": "starttls",
        "ca_file": str(ca_file),
        "username": "user",
        "password": "secret",
    }


@pytest.mark.parametrize("trouble", list(_in_the_clear()), ids=lambda trouble: trouble.name)
async def test_trouble_before_a_mail_is_taken_costs_the_mail_nothing(
    trouble: Trouble,
    outbox: PlainOutbox,
    clock: PassingClock,
    script: Script,
    relay: ScriptedRelay,
) -> None:
    """The relay is paused, no attempt is charged, and after the pause the mail goes once.

    A mail of which the relay has heard is put off, so that another one probes.
    """
    await _meet(trouble, outbox, clock, script, leading_to(relay, **trouble.keys))
    assert relay.ledger.deliveries(ANN) == 1


@pytest.mark.parametrize("trouble", list(_in_tls()), ids=lambda trouble: trouble.name)
async def test_trouble_with_tls_and_credentials_costs_the_mail_nothing(
    trouble: Trouble,
    outbox: PlainOutbox,
    clock: PassingClock,
    script: Script,
    strict_relay: ScriptedRelay,
    secured: Settings,
) -> None:
    """The same holds for every answer to STARTTLS and AUTH; nothing is sent in the clear."""
    keys = leading_to(strict_relay, **secured, **trouble.keys)
    await _meet(trouble, outbox, clock, script, keys)
    (taken,) = strict_relay.ledger.accepted
    assert (taken.recipients, taken.authenticated_as) == ((ANN,), "user")
    assert taken.tls


async def _meet(
    trouble: Trouble, outbox: PlainOutbox, clock: PassingClock, script: Script, keys: Settings
) -> None:
    trouble.play(script.on(trouble.at))
    outbox.put(ANN)
    async with running(outbox, {"main": keys}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        waits = "queued" if trouble.is_before_mail else "deferred"
        await daemon.until(lambda: outbox.state(ANN) == waits)
        paused = outbox.relay()
        assert (paused["stage"], paused["code"], paused["troubles"]) == (
            trouble.stage,
            trouble.code,
            1,
        )
        assert paused["text"]
        assert not [one for one in outbox.attempts(ANN) if one["charged"]]
        script.clear()
        await daemon.let_pass(PAUSE if trouble.is_before_mail else BACKOFF)
        await daemon.until_states(sent=1)
        assert outbox.relay()["breaker"] == "closed"
        assert daemon.told(events.RelayResumed)
    assert outbox.recipient(ANN)["attempts"] == 1


@pytest.mark.parametrize("reply", ["421 4.3.2 not now", "530 5.7.0 authenticate first"])
async def test_a_mail_that_a_relay_will_not_have_does_not_keep_it_closed(
    outbox: PlainOutbox, clock: PassingClock, script: Script, relay: ScriptedRelay, reply: str
) -> None:
    """However urgent, it is put off: another mail probes, and all others go."""
    script.on("MAIL", address="unwanted@example.org").reply(reply)
    outbox.put(ANN, sender="unwanted@example.org", priority=Priority.HIGH, now=clock.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(10)])
        await daemon.let_pass(PAUSE)
        await daemon.until_states(sent=10, deferred=1)
    assert outbox.recipient(ANN)["attempts"] == 0


async def test_a_relay_that_is_down_costs_nothing(
    outbox: PlainOutbox, clock: PassingClock, relay: ScriptedRelay
) -> None:
    """A refused connection pauses the relay; when it is back, its mail goes."""
    await relay.stop()
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        assert outbox.relay()["stage"] == "connect"
        await relay.start()
        await daemon.let_pass(PAUSE)
        await daemon.until_states(sent=1)
    assert outbox.recipient(ANN)["attempts"] == 1


async def test_a_relay_without_an_address_costs_nothing(outbox: PlainOutbox) -> None:
    """A name that does not resolve is trouble with our settings: the mail waits, uncharged."""
    keys = {"host": "relay.invalid", "timeouts": {"connect": 2}}
    outbox.put(ANN)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        assert outbox.relay()["stage"] == "connect"
        await daemon.until_states(queued=1)
    assert outbox.recipient(ANN)["attempts"] == 0


async def test_a_relay_that_hides_starttls_gets_neither_mail_nor_password(
    outbox: PlainOutbox, strict_relay: ScriptedRelay, secured: Settings
) -> None:
    """Where STARTTLS is not offered nothing is sent in the clear; the mail waits, uncharged."""
    strict_relay.tls, strict_relay.require_tls = None, False
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(strict_relay, **secured)}) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=1)
        assert outbox.relay()["stage"] == "starttls"
    assert not strict_relay.ledger.seen.keys() & {"AUTH", "MAIL"}


async def test_a_relay_with_a_strange_certificate_gets_neither_mail_nor_password(
    outbox: PlainOutbox, strict_relay: ScriptedRelay, secured: Settings
) -> None:
    """A certificate that nobody here trusts pauses the relay; the mail waits, uncharged."""
    keys = {name: value for name, value in secured.items() if name != "ca_file"}
    outbox.put(ANN)
    async with running(outbox, {"main": leading_to(strict_relay, **keys)}) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=1)
        assert "certificate" in outbox.relay()["text"]
    assert not strict_relay.ledger.seen.keys() & {"AUTH", "MAIL"}
