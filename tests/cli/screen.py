"""A terminal of its own for a command, and what appears on it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

# Ctrl-C is a signal only to those whose own terminal this is.
_WITH_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def shown(
    *arguments: str, until: bytes = b"", key: bytes = b"", **environ: str
) -> tuple[bytes, int]:
    """Run `mailqueue` on a terminal; return what it showed, and its exit status.

    Once ``until`` has appeared, ``key`` is pressed.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_A_TERMINAL, sys.executable, "-m", "mailqueue", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "40", **environ},
    )
    os.close(theirs)
    seen, is_pressed = b"", not key
    try:
        while block := os.read(ours, 65536):
            seen += block
            if not is_pressed and until in seen:
                os.write(ours, key)
                is_pressed = True
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
    return seen, process.wait(timeout=60)
