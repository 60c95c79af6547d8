from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from mailqueue.config import BackoffSettings, Config, RelaySettings, Timeouts
from mailqueue.config.fallback import circles
from mailqueue.config.host import is_loopback


def relay(**given: Any) -> RelaySettings:
    """Return a relay of these settings."""
    return RelaySettings(name="main", **given)


def problems(**given: Any) -> str:
    """Return what is wrong with these settings."""
    with pytest.raises(ValidationError) as caught:
        relay(**given)
    return str(caught.value)


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_tls(tls: Any, port: int) -> None:
    """Where no port is given, it is the usual one for the way the session is secured."""
    assert relay(tls=tls).effective_port == port
    assert relay(tls=tls, port=2525).effective_port == 2525


def test_plain_authentication_goes_with_a_username() -> None:
    """A username means AUTH PLAIN unless another mechanism is named; without one, no AUTH."""
    assert relay().auth == "none"
    assert relay(username="u", password="p").auth == "plain"
    assert relay(username="u", password="p", auth="login").auth == "login"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "mail.localhost", "127.0.0.1", "127.9.9.9", "::1",
             "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine(host: str) -> None:
    """Loopback addresses and the localhost names are this machine (RFC 6761 section 6.3)."""
    assert is_loopback(host)
    assert relay(host=host, tls="none").tls == "none"


@pytest.mark.parametrize(
    "host", ["example.org", "localhost.example.org", "notlocalhost", "10.0.0.1", "0.0.0.0", "::2",
             "::ffff:10.0.0.1", "127.0.0.1.example.org"],
)  # fmt: skip
def test_plaintext_needs_leave(host: str) -> None:
    """Mail goes to another machine in the clear only where that was expressly allowed."""
    assert not is_loopback(host)
    assert "allow_plaintext = true" in problems(host=host, tls="none")
    assert relay(host=host, tls="none", allow_plaintext=True).allow_plaintext


def test_no_leave_covers_a_password() -> None:
    """A password is not sent to another machine in the clear, whatever is allowed."""
    text = problems(
        host="example.org", tls="none", allow_plaintext=True, username="u", password="p"
    )
    assert "username would cross the network readable" in text
    assert relay(tls="none", username="u", password="p").auth == "plain"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"username": "u"}, "password_file is missing, but auth is plain"),
        ({"auth": "login"}, "username is missing, but auth is login"),
        ({"auth": "xoauth2", "username": "u"}, "password_file is missing, but auth is xoauth2"),
        ({"password": "p"}, "auth is none, but a username or password is given"),
        (
            {"auth": "none", "username": "u", "password": "p"},
            "auth is none, but a username or password is given",
        ),
        (
            {"username": "u", "password": "p", "password_file": "/run/p"},
            "password_file goes with password, but only one can hold",
        ),
    ],
)
def test_credentials_are_complete_or_absent(given: Mapping[str, Any], expected: str) -> None:
    """Authentication has a mechanism, a username and exactly one password, or nothing at all."""
    assert expected in problems(**given)


def test_contradictions_come_together() -> None:
    """One error tells all contradictions of a relay, so that they are mended in one go."""
    text = problems(host="example.org", tls="none", auth="login")
    assert "tls mail would cross" in text
    assert "username is missing" in text
    assert "password_file is missing" in text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("smtp.example.org:587", "the port under the key"),
        ("[::1]", "without brackets"),
        ("smtp://example.org", "without smtp://"),
        ("user@example.org", "without smtp:// or user"),
        ("exa mple.org", "is not a host"),
        ("example..org", "is not a host"),
        ("", "is empty"),
        ("example.org\r\nRCPT TO:<x@y>", "unprintable"),
        ("example.org\u202e", "unprintable"),
    ],
)
def test_hosts(host: str, expected: str) -> None:
    """A host is a name or an address and nothing else; usual mistakes get their own remedy."""
    assert expected in problems(host=host)


@pytest.mark.parametrize("host", ["smtp.example.org", "smtp", "192.0.2.1", "2001:db8::1", "a_b.c."])
def test_good_hosts(host: str) -> None:
    """Names, with or without dots, and addresses of both families are taken as they are."""
    assert relay(host=host).host == host


@pytest.mark.parametrize("name", ["mail.example.org", "mail", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_good_ehlo_names(name: str) -> None:
    """EHLO takes a domain or an address literal (RFC 5321 section 4.1.3)."""
    assert relay(local_hostname=name).local_hostname == name


@pytest.mark.parametrize(
    "name",
    ["mail example", "192.0.2.1:25", "[192.0.2]", "mäil.example", "a\r\nMAIL FROM:<>", "[]", "<a>"],
)
def test_bad_ehlo_names(name: str) -> None:
    """What could not be said after EHLO, or would be a command of its own, is refused."""
    assert "local_hostname" in problems(local_hostname=name)


def test_source_addresses() -> None:
    """The address to connect from is an IP address."""
    assert relay(source_address="192.0.2.1").source_address == "192.0.2.1"
    assert "is not an IP address" in problems(source_address="eth0")


@pytest.mark.parametrize("name", ["a", "main", "ses-eu_2", "0"])
def test_good_relay_names(name: str) -> None:
    """A relay's name can be part of an environment variable and of a metric."""
    assert RelaySettings(name=name).name == name


@pytest.mark.parametrize("name", ["", "Main", "a__b", "-a", "a-", "a.b", "a b", "a\n", "x" * 64])
def test_bad_relay_names(name: str) -> None:
    """Names that the environment could not spell are refused."""
    with pytest.raises(ValidationError, match="cannot be the name of a relay"):
        RelaySettings(name=name)


@pytest.mark.parametrize("port", [0, 65_536, -1, "25", 25.0, True])
def test_bad_ports(port: Any) -> None:
    """A port is a whole number from 1 to 65535, and is not made out of anything else."""
    assert "port" in problems(port=port)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"initial": "5m", "maximum": "1m"}, "maximum"),
        ({"initial": "5m", "give_up": "1m"}, "give_up"),
        ({"factor": 0.9}, "factor"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
        ({"initial": 0}, "initial"),
    ],
)
def test_backoff_makes_sense(given: Mapping[str, Any], key: str) -> None:
    """Pauses are positive, do not shrink, fit under the maximum, and come before giving up."""
    with pytest.raises(ValidationError) as caught:
        BackoffSettings(**given)
    assert key in str(caught.value)


def test_nothing_is_changed_after_the_fact() -> None:
    """Settings are frozen: who holds them may rely on them."""
    with pytest.raises(ValidationError, match="frozen"):
        relay().host = "elsewhere"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        Timeouts().connect = 1  # type: ignore[misc]


def test_a_relays_backoff_fills_up_from_the_global_one() -> None:
    """What a relay's backoff leaves out comes from [backoff], not from the built-in defaults."""
    config = Config.model_validate(
        {
            "backoff": {"maximum": "10h"},
            "relays": {"default": {}, "slow": {"backoff": {"initial": "5h"}}},
        }
    )
    assert config.backoff_for("slow") == BackoffSettings(initial=18_000, maximum=36_000)
    assert config.backoff_for("default") == BackoffSettings(maximum=36_000)


@pytest.mark.parametrize(
    ("fallbacks", "expected"),
    [
        ({"a": ["b"], "b": []}, []),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
        ({"a": ["a"]}, [("a", "a")]),
        ({"a": ["b"], "b": ["a"]}, [("a", "b", "a")]),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, [("b", "c", "b")]),
        ({"a": ["elsewhere"]}, []),
        ({"a": ["a"], "b": ["c"], "c": ["b"]}, [("a", "a"), ("b", "c", "b")]),
    ],
)
def test_circles(fallbacks: dict[str, list[str]], expected: list[tuple[str, ...]]) -> None:
    """A circle of fallbacks is told once, and sharing a fallback is none."""
    assert list(circles(fallbacks)) == expected
