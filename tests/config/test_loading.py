from pathlib import Path

import pytest

from mailqueue.config import Config, load
from mailqueue.errors import ConfigError
from tests.config.conftest import Load, Refusal


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """Return the path of a system file that does not exist."""
    return tmp_path / "etc" / "config.toml"


def test_no_configuration_at_all(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file, an outbox here and a relay on this machine are used, and it is said."""
    monkeypatch.chdir(tmp_path)
    loaded = load(environ={}, system_file=nowhere)
    assert loaded.config == Config()
    assert loaded.config.database.url == "sqlite:///outbox.db"
    relay = loaded.config.default_relay
    assert (relay.name, relay.host, relay.effective_port, relay.tls) == (
        "default", "localhost", 25, "none",
    )  # fmt: skip
    assert loaded.source == (
        f"no configuration file; using the outbox sqlite:///outbox.db in {tmp_path} "
        "and the relay localhost port 25, tls none"
    )
    assert loaded.file is None
    assert loaded.warnings == ()


def test_under_systemd_the_outbox_is_in_the_state_directory(nowhere: Path) -> None:
    """With $STATE_DIRECTORY the outbox is in the first of its directories."""
    environ = {"STATE_DIRECTORY": "/var/lib/mailqueue:/var/lib/other"}
    loaded = load(environ=environ, system_file=nowhere)
    assert loaded.config.database.url == "sqlite:////var/lib/mailqueue/outbox.db"
    assert "sqlite:////var/lib/mailqueue/outbox.db" in loaded.source


def test_a_configured_database_is_kept_under_systemd(load_text: Load) -> None:
    """$STATE_DIRECTORY moves nothing that was configured."""
    loaded = load_text('[database]\nurl = "sqlite:////srv/o.db"', STATE_DIRECTORY="/var/lib/m")
    assert loaded.config.database.url == "sqlite:////srv/o.db"


def test_a_missing_file_is_an_error(nowhere: Path) -> None:
    """A file that was named and is not there is never replaced by defaults."""
    with pytest.raises(ConfigError, match=r"etc/config\.toml cannot be read: No such file"):
        load(nowhere, environ={})
    with pytest.raises(ConfigError, match=r"etc/config\.toml cannot be read: No such file"):
        load(environ={"MAILQUEUE_CONFIG": str(nowhere)})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """A configuration that cannot be read as a file is an error that names it."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, environ={})


def test_a_system_file_that_cannot_be_looked_at_is_an_error(tmp_path: Path) -> None:
    """A system file behind an obstacle is not taken for a missing one."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(environ={}, system_file=loop)


def test_which_file_is_read(tmp_path: Path) -> None:
    """The path that was given goes before $MAILQUEUE_CONFIG, and that before the system's file."""
    files = {name: tmp_path / f"{name}.toml" for name in ("given", "named", "system")}
    for name, file in files.items():
        file.write_text(f'[relays.{name}]\nhost = "localhost"')
    environ = {"MAILQUEUE_CONFIG": str(files["named"])}
    found = [
        load(files["given"], environ=environ, system_file=files["system"]),
        load(environ=environ, system_file=files["system"]),
        load(environ={"MAILQUEUE_CONFIG": ""}, system_file=files["system"]),
    ]
    assert [loaded.config.default_relay.name for loaded in found] == ["given", "named", "system"]
    assert [loaded.file for loaded in found] == list(files.values())
    assert f"configuration from {files['given']}" in found[0].source


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused, with the place."""
    file = tmp_path / "config.toml"
    file.write_bytes(b'[log]\nlevel = "\xff"')
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 15\)"):
        load(file, environ={})


def test_environment_over_file_over_defaults(load_text: Load) -> None:
    """Each key comes from the environment, else from the file, else from the defaults."""
    loaded = load_text(
        '[log]\nlevel = "error"\nformat = "json"',
        MAILQUEUE_LOG__LEVEL="debug",
        MAILQUEUE_BACKOFF__INITIAL="1m",
    )
    assert loaded.config.log.level == "debug"
    assert loaded.config.log.format == "json"
    assert loaded.config.backoff.initial == 60
    assert loaded.config.backoff.factor == 2.0
    assert "from the environment: MAILQUEUE_LOG__LEVEL, MAILQUEUE_BACKOFF__INITIAL" in loaded.source


def test_a_file_without_relays_gets_the_one_on_this_machine(load_text: Load) -> None:
    """A file that only speaks of other things leaves the relay by default, and that is said."""
    loaded = load_text('[log]\nlevel = "error"')
    assert list(loaded.config.relays) == ["default"]
    assert "using the outbox" in loaded.source
    assert "the relay localhost port 25, tls none" in loaded.source


def test_a_relay_in_the_file_is_secured_unless_told_otherwise(load_text: Load) -> None:
    """A relay that is configured uses STARTTLS by default, on this machine too."""
    relay = load_text("[relays.default]").config.default_relay
    assert (relay.tls, relay.effective_port) == ("starttls", 587)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MAILQUEUE_RELAYS__DEFAULT__PORT": "1025"}, ("default", "localhost", 1025, "none")),
        ({"MAILQUEUE_RELAYS__DEFAULT__HOST": "::1"}, ("default", "::1", 25, "none")),
        ({"MAILQUEUE_RELAYS__DEFAULT__HOST": "a.b"}, ("default", "a.b", 587, "starttls")),
        ({"MAILQUEUE_RELAYS__DEFAULT__TLS": "implicit"}, ("default", "localhost", 465, "implicit")),
        ({"MAILQUEUE_RELAYS__MAIN__HOST": "a.b"}, ("main", "a.b", 587, "starttls")),
    ],
)
def test_a_relay_from_the_environment_alone(
    nowhere: Path, environ: dict[str, str], expected: tuple[str, str, int, str]
) -> None:
    """Without a file, the environment changes the default relay or brings another in its place."""
    config = load(environ=environ, system_file=nowhere).config
    relay = config.default_relay
    assert len(config.relays) == 1
    assert (relay.name, relay.host, relay.effective_port, relay.tls) == expected


def test_loading_again_sees_what_has_changed(load_text: Load) -> None:
    """Loading keeps nothing from the time before, so that SIGHUP can call it."""
    assert load_text('[log]\nlevel = "error"').config.log.level == "error"
    assert load_text('[log]\nlevel = "debug"').config.log.level == "debug"
    assert load_text("").config.log.level == "info"


def test_a_table_from_the_environment_hides_no_mistake_in_the_file(refusal: Refusal) -> None:
    """What is no table in the file stays an error, whatever the environment adds to it."""
    assert "log: is not a table" in refusal("log = 1", MAILQUEUE_LOG__LEVEL="debug")
    assert "relays.a: is not a table" in refusal(
        "[relays]\na = 1", MAILQUEUE_RELAYS__A__HOST="localhost"
    )


def test_options_go_over_the_environment(load_text: Load, tmp_path: Path) -> None:
    """What a command line says holds, and is told by its key and as coming from there."""
    file = load_text('[log]\nlevel = "error"').file
    loaded = load(
        file,
        environ={"MAILQUEUE_LOG__LEVEL": "debug", "MAILQUEUE_LOG__FORMAT": "json"},
        options={"MAILQUEUE_LOG__LEVEL": "info", "MAILQUEUE_DATABASE__URL": "sqlite:////srv/o.db"},
    )
    assert loaded.config.log.level == "info"
    assert loaded.config.log.format == "json"
    assert loaded.config.database.url == "sqlite:////srv/o.db"
    assert f"configuration from {file}; over it from the environment: " in loaded.source
    assert "over it from the environment: MAILQUEUE_LOG__FORMAT; " in loaded.source
    assert "over it from the command line: " in loaded.source
    told = loaded.source.partition("the command line: ")[2].partition(";")[0]
    assert set(told.split(", ")) == {"log.level", "database.url"}
    assert "using the outbox" not in loaded.source


def test_options_without_a_file(nowhere: Path) -> None:
    """An outbox that was named on the command line is not called a default."""
    options = {"MAILQUEUE_DATABASE__URL": "sqlite:////srv/o.db"}
    loaded = load(environ={}, system_file=nowhere, options=options)
    assert loaded.source == (
        "no configuration file; over it from the command line: database.url; "
        "using the relay localhost port 25, tls none"
    )
