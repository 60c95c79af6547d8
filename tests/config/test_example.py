import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mailqueue.config import describe, load
from mailqueue.config.keys import find_key, known_keys
from tests.config.conftest import Load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
COMMENTED = re.compile(r"^#(?=\[|[a-z_]+ = )", re.MULTILINE)


@pytest.fixture
def shipped() -> str:
    """Return the example as it is."""
    return EXAMPLE.read_text()


@pytest.fixture
def uncommented(shipped: str, tmp_path: Path) -> str:
    """Return the example with each key in force, and the certificates that one of them names."""
    certificates = tmp_path / "ca.pem"
    certificates.write_text("-----BEGIN CERTIFICATE-----")
    text = COMMENTED.sub("", shipped)
    assert "/etc/mailqueue/ca.pem" in text
    return text.replace("/etc/mailqueue/ca.pem", str(certificates))


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    """Return a directory with the credential that the example names."""
    (tmp_path / "mailqueue_smtp_password").write_text("made up")
    (tmp_path / "mailqueue_smtp_password").chmod(0o400)
    return str(tmp_path)


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key in ``table``."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def test_every_key_is_in_the_example_and_nothing_else(uncommented: str) -> None:
    """The example shows each key of the models, in their order of tables, and no other."""
    shown = [find_key(path) for path in leaves(tomllib.loads(uncommented))]
    assert None not in shown
    assert set(shown) == set(known_keys())


def test_the_example_loads_as_it_is_shipped(
    load_text: Load, shipped: str, credentials: str
) -> None:
    """Who copies the example and brings the password can start."""
    loaded = load_text(shipped, CREDENTIALS_DIRECTORY=credentials)
    assert loaded.config.default_relay.read_secret({"CREDENTIALS_DIRECTORY": credentials})
    assert loaded.warnings == ()


def test_the_example_loads_with_every_key_in_force(
    load_text: Load, uncommented: str, credentials: str
) -> None:
    """The samples and defaults in the example fit each other."""
    loaded = load_text(uncommented, CREDENTIALS_DIRECTORY=credentials)
    assert loaded.config.default_relay.fallback == ("standby",)
    assert loaded.warnings == ()


def test_commented_keys_show_their_defaults(
    load_text: Load, uncommented: str, shipped: str, credentials: str
) -> None:
    """Taking the "#" away from a key changes nothing, but for samples of what has no value."""
    before, after = (
        tomllib.loads(describe(load_text(text, CREDENTIALS_DIRECTORY=credentials).config))
        for text in (shipped, uncommented)
    )
    changed = {path for path in leaves(before) if at(before, path) != at(after, path)}
    assert changed == {("relays", "main", "fallback")}


def at(table: Any, path: tuple[str, ...]) -> Any:
    """Return what stands in ``table`` at ``path``."""
    for part in path:
        table = table[part]
    return table


def test_the_description_can_be_loaded_again(
    load_text: Load, shipped: str, credentials: str
) -> None:
    """What `config show` prints is a configuration again, and means the same."""
    config = load_text(shipped, CREDENTIALS_DIRECTORY=credentials).config
    again = load_text(describe(config), CREDENTIALS_DIRECTORY=credentials).config
    assert describe(again) == describe(config)
    assert again.limits == config.limits
    assert again.backoff_for("main") == config.backoff_for("main")
    assert again.default_relay.timeouts == config.default_relay.timeouts


def test_the_description_shows_every_key_in_force(tmp_path: Path) -> None:
    """Nothing that has a value is left out of the description, derived values included."""
    config = load(environ={}, system_file=tmp_path / "none").config
    shown = {find_key(path) for path in leaves(tomllib.loads(describe(config)))}
    without_value = {
        "ca_file", "tls_server_name", "username", "password", "password_file", "local_hostname",
        "source_address", "rate", "burst",
    }  # fmt: skip
    assert {key.path[-1] for key in set(known_keys()) - shown} == without_value
