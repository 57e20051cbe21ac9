"""SQL is written in the warehouse alone: others import of SQLAlchemy only what carries a connection or leads to one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import strava_pipeline
import webhook_bridge

CARRIERS = {"Connection", "Engine", "URL"}
PACKAGE = Path(strava_pipeline.__file__).parent
# Frames are the tables, as an analyst's login reads them.
FRAMES = PACKAGE / "frames"
OUTSIDE = [
    *(path for path in PACKAGE.rglob("*.py") if not {PACKAGE / "warehouse", FRAMES} & set(path.parents)),
    *Path(webhook_bridge.__file__).parent.rglob("*.py"),
]


def of_sqlalchemy(path: Path) -> Iterator[str]:
    """Dotted names of what a module takes of SQLAlchemy, carriers and errors left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] == "sqlalchemy")
        elif isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy":
            yield from (f"sqlalchemy.{each.name}" for each in node.names if each.name not in CARRIERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy."):
            yield from () if node.module == "sqlalchemy.exc" else (str(node.module),)
        elif isinstance(node, ast.Attribute) and node.attr == "exec_driver_sql":
            yield node.attr


def test_no_statement_is_written_outside_the_warehouse() -> None:
    assert {(path.name, name) for path in OUTSIDE for name in of_sqlalchemy(path)} == set()
    # The look finds statements where there are some.
    assert "sqlalchemy.select" in set(of_sqlalchemy(FRAMES / "__init__.py"))


def test_the_time_is_asked_of_one_function() -> None:
    """A test, and an operator in need, can move an installation's time: nothing asks the server's clock itself."""
    another = re.compile(r"clock_timestamp|func\.now\b|(current|transaction|statement)_timestamp", re.IGNORECASE)
    found = {
        path.name
        for path in (PACKAGE / "warehouse").rglob("*.py")
        if "migrations" not in path.parts and another.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"ops_schema.py"}  # where the function is declared
