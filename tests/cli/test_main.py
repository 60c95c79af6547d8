import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mailqueue._version import __version__
from mailqueue.cli.lazy import LazyGroup
from mailqueue.cli.main import cli
from tests.cli.conftest import Invoke


def _root() -> tuple[LazyGroup, click.Context]:
    assert isinstance(cli, LazyGroup)
    return cli, click.Context(cli)


def test_help_names_every_command(invoke: Invoke) -> None:
    """The help shows all commands and what the exit statuses mean."""
    result = invoke("--help")
    assert result.exit_code == 0
    root, _ = _root()
    for name, entry in root.entries.items():
        assert f"{name} " in result.stdout
        assert entry.help in result.stdout
    assert "75" in result.stdout


@pytest.mark.parametrize("name", [*_root()[0].entries])
def test_the_help_of_a_command_is_the_same_in_both_places(name: str) -> None:
    """What `mailqueue --help` says about a command is how the command's own help begins."""
    root, context = _root()
    command = root.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == root.entries[name].help


@pytest.mark.parametrize("name", [*_root()[0].entries])
def test_every_command_has_help(invoke: Invoke, name: str) -> None:
    """`-h` works everywhere."""
    result = invoke(name, "-h")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: mailqueue {name}")


def test_version(invoke: Invoke) -> None:
    """--version names the program and its version."""
    assert invoke("--version").stdout == f"mailqueue {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["--nonsense"], ["lisst"], ["show"], ["list", "--limit", "0"]]
)
def test_a_miswritten_command_ends_in_64(invoke: Invoke, arguments: list[str]) -> None:
    """Usage errors go to standard error and end in EX_USAGE."""
    result = invoke(*arguments)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert "Usage: mailqueue" in result.stderr


def test_a_url_that_is_no_outbox_is_a_usage_error(invoke: Invoke) -> None:
    """--database says which forms it takes, and repeats nothing that may be a password."""
    result = invoke("list", "--database", "mysql://user:canary@host/db")
    assert result.exit_code == 64
    assert "sqlite:////absolute" in result.stderr
    assert "canary" not in result.output


def test_a_fault_of_ours_shows_where(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw ends in EX_SOFTWARE with a traceback to report."""

    def broken(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("mailqueue.cli.access.find", broken)
    result = invoke("list")
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert "mailqueue: this is a fault" in result.stderr


def test_ctrl_c_ends_in_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted command says nothing and ends as a shell expects."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mailqueue.cli.access.find", interrupted)
    result = invoke("list")
    assert (result.exit_code, result.output) == (130, "")


def test_help_loads_nothing_heavy() -> None:
    """`mailqueue --help` starts fast: no command and none of their libraries is loaded."""
    loaded = _modules_after("['--help']")
    assert "click" in loaded
    assert not loaded & {"rich", "alembic", "aiosmtplib", "pydantic", "asyncio.runners"}
    assert not {name for name in loaded if name.startswith("mailqueue.cli.") and "run" in name}


def test_commands_leave_rich_alone_without_a_terminal() -> None:
    """Only a table on a terminal loads rich; plain output and the daemon do not."""
    assert "rich" not in _modules_after("['list', '--database', 'sqlite:////nowhere/x.db']")


def _modules_after(arguments: str) -> set[str]:
    code = (
        "import sys, json\nfrom mailqueue.cli.main import cli\n"
        f"try: cli.main({arguments}, prog_name='mailqueue')\n"
        "except SystemExit: pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_postgresql_without_its_driver(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command says what to install, instead of where it broke."""
    monkeypatch.setattr("mailqueue.outbox.engine.find_spec", lambda _: None)
    for command in (["list"], ["show", "1"], ["hold", "1"], ["db", "upgrade"], ["db", "current"]):
        result = invoke(*command, "--database", "postgresql://mail@db/mail")
        assert result.exit_code == 69
        assert "pip install 'mailqueue[postgres]'" in result.stderr


def test_the_help_tells_the_statuses_that_are_met(invoke: Invoke, tmp_path: Path) -> None:
    """A missing configuration and a place that cannot be made end in what the help says."""
    told = invoke("--help").stdout
    assert "73  a file or directory cannot be made" in told
    assert "78  configuration missing or wrong" in told
    assert invoke("list", "--config", tmp_path / "none.toml").exit_code == 78
