"""Tests that a page names, and those that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_NAMED: Final = re.compile(r"`?(tests/[\w/]+\.py)(?:::(\w+))?`?")


def named_in(page: str) -> list[tuple[str, str]]:
    """Return each test that the text of a page names, as file and function; "" for a whole file."""
    return [(found[1], found[2] or "") for found in _NAMED.finditer(page)]


def missing(page: str) -> list[str]:
    """Return which of them there are not."""
    return [
        f"{file}::{name}" if name else file
        for file, name in named_in(page)
        if not (ROOT / file).is_file() or (name and name not in _tests_of(ROOT / file))
    ]


@cache
def _tests_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    found = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return frozenset(node.name for node in found if node.name.startswith("test_"))
