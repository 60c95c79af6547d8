"""A configuration file and an environment of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailqueue.config import Loaded, load
from mailqueue.errors import ConfigError

Load = Callable[..., Loaded]
Refusal = Callable[..., str]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Return a function that loads a file of the given text; keywords are the environment."""

    def load_it(text: str, **environ: str) -> Loaded:
        file = tmp_path / "config.toml"
        file.write_text(text)
        file.chmod(0o640)
        return load(file, environ=environ)

    return load_it


@pytest.fixture
def refusal(load_text: Load) -> Refusal:
    """Return a function that loads like `load_text`, fails, and gives the error's text."""

    def refuse_it(text: str, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **environ)
        return str(caught.value)

    return refuse_it
