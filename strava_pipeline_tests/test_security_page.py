"""docs/security.md names a test for each line, and each of these is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def _rows() -> list[str]:
    """The rows of the page's tables, without their headers."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( -+ \|)+", line)]
    headers = {number - 1 for number in rules}
    return [line for number, line in enumerate(lines) if line.startswith("|") and number not in {*rules, *headers}]


def test_each_line_names_its_tests() -> None:
    rows = _rows()
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []


def test_each_test_that_is_named_is_there() -> None:
    named = {match.groups() for row in _rows() for match in NAMED.finditer(row)}
    missing = []
    for file, name in sorted(named):
        path = TESTS / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if name not in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{file}::{name}")
    assert missing == []
