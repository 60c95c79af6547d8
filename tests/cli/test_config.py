from pathlib import Path

import pytest

from tests.cli.conftest import Invoke

GOOD = """\
[relays.main]
host = "smtp.example.org"
username = "shop"
password = "canary-in-the-file"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that can be used, read by its owner alone."""
    file = tmp_path / "config.toml"
    file.write_text(GOOD)
    file.chmod(0o600)
    return file


def test_check(invoke: Invoke, file: Path) -> None:
    """A configuration in order is said to be, with where it comes from."""
    result = invoke("config", "check", "--config", file)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"configuration from {file}")
    assert result.stdout.endswith(": in order\n")


def test_the_environment_names_the_file(
    invoke: Invoke, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$MAILQUEUE_CONFIG stands for --config."""
    monkeypatch.setenv("MAILQUEUE_CONFIG", str(file))
    assert f"configuration from {file}" in invoke("config", "check").stdout


def test_a_misspelt_key_is_named(invoke: Invoke, file: Path) -> None:
    """Everything that is wrong is told at once, each with its remedy, and the status is 78."""
    file.write_text(GOOD + "usrname = 'x'\n[limits]\nmessage_size = 'much'\n")
    result = invoke("config", "check", "--config", file)
    assert (result.exit_code, result.stdout) == (78, "")
    assert "relays.main.usrname: is no key; did you mean username?" in result.stderr
    assert "limits.message_size" in result.stderr
    assert "canary" not in result.output
    assert "Traceback" not in result.output


def test_a_missing_file(invoke: Invoke, tmp_path: Path) -> None:
    """A file that was named and is not there ends every command that needs it in 78."""
    absent = tmp_path / "absent.toml"
    for command in (("config", "check"), ("list",), ("send", "--to", "a@b"), ("run",)):
        result = invoke(*command, "--config", absent)
        assert result.exit_code == 78
        assert f"{absent} cannot be read" in result.stderr


def test_a_broken_configuration_is_no_obstacle_to_a_named_outbox(
    invoke: Invoke, file: Path, url: str
) -> None:
    """--database needs no configuration; without it, the error says that there is that way."""
    file.write_text("nonsense")
    result = invoke("list", "--config", file)
    assert result.exit_code == 78
    assert "--database URL" in result.stderr
    assert invoke("db", "upgrade", "--config", file, "--database", url).exit_code == 0


def test_warnings_are_shown(invoke: Invoke, file: Path) -> None:
    """What works and should not stay so is told."""
    file.chmod(0o644)
    result = invoke("config", "check", "--config", file)
    assert result.exit_code == 0
    assert "warning: " in result.stdout
    assert "chmod o-r" in result.stdout


def test_show_hides_secrets(invoke: Invoke, file: Path) -> None:
    """Everything in force is printed, defaults too, and no password."""
    result = invoke("config", "show", "--config", file)
    assert result.exit_code == 0
    assert 'host = "smtp.example.org"' in result.stdout
    assert "give_up" in result.stdout
    assert "canary" not in result.output


def test_what_is_shown_can_be_read_again(invoke: Invoke, file: Path, tmp_path: Path) -> None:
    """The output is a configuration that says the same, but for its password."""
    shown = invoke("config", "show", "--config", file).stdout
    again = tmp_path / "again.toml"
    again.write_text(shown)
    again.chmod(0o600)
    assert (
        invoke("config", "show", "--config", again).stdout.split("\n", 1)[1]
        == shown.split("\n", 1)[1]
    )
