"""Real terminals and real pipes."""

import os
import pty
import subprocess
import sys

import pytest
from sqlalchemy import Engine

from tests.support import rows

COMMAND = (sys.executable, "-m", "mailqueue")


def _on_a_terminal(*arguments: str, **environ: str) -> str:
    """Run a command whose output is a terminal, and return what appeared there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm", **environ},
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
        assert process.wait(timeout=30) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_table(engine: Engine, url: str) -> None:
    """On a terminal `list` is a table with colours, and without them where NO_COLOR is set."""
    with engine.begin() as connection:
        rows.add_message(connection, "anna@example.net", recipient={"state": "held"})
    shown = _on_a_terminal("list", "--database", url)
    assert "\x1b[35mheld" in shown
    plain = _on_a_terminal("list", "--database", url, NO_COLOR="1")
    assert "\x1b" not in plain
    assert plain.split("\n")[0].startswith("ID  State")
    assert '"queue_id"' in _on_a_terminal("list", "--json", "--database", url)


def test_a_terminal_gets_a_screenful(engine: Engine, url: str) -> None:
    """Without --limit a terminal shows the first hundred, and says so where there are more."""
    with engine.begin() as connection:
        rows.add_message(connection, *(f"r{number}@example.net" for number in range(100)))
    assert "the first" not in _on_a_terminal("list", "--database", url)
    with engine.begin() as connection:
        rows.add_message(connection, *(f"r{number}@example.net" for number in range(100, 150)))
    shown = _on_a_terminal("list", "--database", url, NO_COLOR="1")
    assert "r99@" in shown
    assert "r100@" not in shown
    assert "the first 100; --limit shows more" in shown
    whole = _on_a_terminal("list", "--limit", "150", "--database", url, NO_COLOR="1")
    assert "r149@" in whole
    assert "the first" not in whole


def test_an_empty_queue_on_a_terminal(engine: Engine, url: str) -> None:
    """A table of nothing is a sentence."""
    assert _on_a_terminal("list", "--database", url) == "nothing is in the queue\n"


def test_a_terminal_gets_a_printable_body(engine: Engine, url: str) -> None:
    """The content of a mail cannot act on the terminal, while a pipe gets its very bytes."""
    raw = b"Subject: x\r\n\r\n\x1b]0;owned\x07 \xff\r\ntext\r\n"
    with engine.begin() as connection:
        number = rows.add_message(connection, raw=raw)
    shown = _on_a_terminal("show", str(number), "--body", "--database", url)
    assert shown == "Subject: x\n\n?]0;owned? \ufffd\ntext\n"
    piped = subprocess.run(
        [*COMMAND, "show", str(number), "--body", "--database", url],
        capture_output=True,
        check=True,
    )
    assert piped.stdout == raw


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_leaves(engine: Engine, url: str, form: tuple[str, ...]) -> None:
    """`mailqueue list | head -1` ends quietly."""
    with engine.begin() as connection:
        rows.add_message(connection, *(f"r{number}@example.net" for number in range(5000)))
        rows.add_message(connection, *(f"s{number}@example.net" for number in range(500)))
    process = subprocess.Popen(
        [*COMMAND, "list", "--database", url, *form],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


@pytest.mark.parametrize("command", ["list", "show 1", "show 1 --body", "show 1 --json"])
def test_output_that_cannot_be_written(engine: Engine, url: str, command: str) -> None:
    """A full disk behind standard output is EX_IOERR and one line."""
    with engine.begin() as connection:
        rows.add_message(connection)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *command.split(), "--database", url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr == "mailqueue: [Errno 28] No space left on device\n"
