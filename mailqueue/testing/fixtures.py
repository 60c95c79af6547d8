"""pytest fixtures: `pytest_plugins = ["mailqueue.testing.fixtures"]` in a conftest.py.

They need pytest-asyncio, and those with TLS need trustme. Without it they fail rather than skip:
a test of TLS that silently goes missing is worse than a red one.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from mailqueue.testing.relay import ScriptedRelay
from mailqueue.testing.script import Script

if TYPE_CHECKING:
    import trustme

USERS = {"user": "secret"}

StartRelay = Callable[[ScriptedRelay], Awaitable[ScriptedRelay]]


@pytest.fixture
def script() -> Script:
    """The script of the relay fixtures of this test."""
    return Script()


@pytest_asyncio.fixture
async def start_relay() -> AsyncIterator[StartRelay]:
    """A function that starts a relay, which is stopped when the test is over."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack.enter_async_context


@pytest_asyncio.fixture
async def relay(script: Script) -> AsyncIterator[ScriptedRelay]:
    """A running relay without TLS and users."""
    async with ScriptedRelay(script) as running:
        yield running


@pytest_asyncio.fixture
async def tls_relay(script: Script, server_tls: ssl.SSLContext) -> AsyncIterator[ScriptedRelay]:
    """A running relay that offers STARTTLS, and inside it AUTH for `USERS`."""
    async with ScriptedRelay(script, tls=server_tls, users=USERS) as running:
        yield running


@pytest_asyncio.fixture
async def implicit_tls_relay(
    script: Script, server_tls: ssl.SSLContext
) -> AsyncIterator[ScriptedRelay]:
    """A running relay with TLS from the first byte, and AUTH for `USERS`."""
    async with ScriptedRelay(script, tls=server_tls, implicit_tls=True, users=USERS) as running:
        yield running


@pytest.fixture(scope="session")
def certificate_authority() -> "trustme.CA":
    """A certificate authority of our own, made once per run."""
    try:
        import trustme  # noqa: PLC0415 - only tests with TLS need it
    except ImportError:
        pytest.fail("the TLS fixtures of mailqueue.testing need trustme: pip install trustme")
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(certificate_authority: "trustme.CA") -> ssl.SSLContext:
    """A server context with a certificate for localhost and 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(certificate_authority: "trustme.CA") -> ssl.SSLContext:
    """A client context that trusts `certificate_authority` and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate_authority.configure_trust(context)
    return context
