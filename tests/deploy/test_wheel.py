"""What is inside the wheel beside the code."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_units_and_example_go_into_the_wheel() -> None:
    """What `systemd --print` and `config example` read is packaged where they look for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    sources = {"deploy": "_deploy", "config.example.toml": "_config.example.toml"}
    shipped = (ROOT / "mailqueue/cli/shipped.py").read_text()
    for source, packaged in sources.items():
        assert (ROOT / source).exists()
        assert included[source] == f"mailqueue/{packaged}"
        assert f'"{packaged}"' in shipped
