"""The configuration file: where it is looked for, and how it is read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailqueue.errors import ConfigError

FILE_VARIABLE = "MAILQUEUE_CONFIG"
"""The environment variable that names the file."""
SYSTEM_FILE = Path("/etc/mailqueue/config.toml")
"""Read where no other file is named, if it is there."""


def find_file(
    path: Path | str | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE
) -> Path | None:
    """Return the file to read, or None if none was named and the system has none.

    A file that was named and is missing is an error of `read_file`, never a reason to go on
    with defaults; so is a system file that is there and may not be read.
    """
    named = path or environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    try:
        system_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass
    return system_file


def read_file(file: Path) -> dict[str, Any]:
    """Return the tables in ``file``. Raises ConfigError, with the line where TOML is broken."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; name another file, or make this one readable"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {error}; text stands in quotes, and each key and table once"
    except ValueError:
        problem = "is not TOML: a number has thousands of digits; shorten it"
    except RecursionError:
        problem = "nests arrays or tables too deeply; see `mailqueue config example` for its form"
    # Raised out here, so that no exception that carries the file's text hangs on to this one.
    raise ConfigError(f"{file} {problem}")
