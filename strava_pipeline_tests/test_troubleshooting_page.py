"""docs/troubleshooting.md, and tables like it: each message that they quote is one that the program can print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = "troubleshooting.md"
OTHER_PAGES = ("first-app.md",)
PACKAGES = ("strava_pipeline", "webhook_bridge")
FEWEST_ENTRIES = 60
TABLE = re.compile(r"^\| (?:what you see|what goes wrong) \| .*\n\| --- \| .*\n((?:\|.*\n)+)", re.MULTILINE)
# Settings, commands and values in the first column, which are no messages.
NO_MESSAGE = re.compile(r"[A-Z_]+|[\w-]+|redirect_uri|[a-z]+:[a-z_]+")
# Characters of an expression in a template, or of a value with what is beside it.
LONGEST_VALUE = 80
# What stands for a value of an f-string; no message has this character.
VALUE = "\N{OBJECT REPLACEMENT CHARACTER}"


def entries(name: str) -> list[str]:
    """The first column of a page's tables of what goes wrong."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return [row.split(" | ")[0] for table in TABLE.findall(text) for row in table.splitlines()]


def messages() -> list[str]:
    """What these columns quote, each message once."""
    quoted = [
        text for name in (PAGE, *OTHER_PAGES) for entry in entries(name) for text in re.findall(r"`([^`]+)`", entry)
    ]
    return sorted({text for text in quoted if not NO_MESSAGE.fullmatch(text)})


@cache
def texts() -> tuple[str, ...]:
    """All texts in the code, with ``VALUE`` for what is put into them, and the templates of pages."""
    modules = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    found = [text for path in modules for text in texts_in(ast.parse(path.read_text(encoding="utf-8")))]
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "webhook_bridge" / "templates").glob("*.html")]
    return (*found, *pages)


def texts_in(tree: ast.AST) -> Iterator[str]:
    """The texts of a module, but for what documents it."""
    documenting = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in documenting:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_printed(message: str) -> bool:
    """Whether a text holds the fixed parts of a message, and values where it has ``...``."""
    fixed = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    wanted = re.compile(f".{{0,{LONGEST_VALUE}}}".join(fixed), re.DOTALL)
    return any(wanted.search(text) for text in texts())


def test_the_page_has_enough_entries() -> None:
    assert len(set(entries(PAGE))) == len(entries(PAGE)) >= FEWEST_ENTRIES
    assert all(map(entries, OTHER_PAGES))


@pytest.mark.parametrize("message", messages())
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    assert is_printed(message)


def test_what_no_code_prints_would_be_found() -> None:
    assert is_printed("the tables are at revision ..., this program needs ...")
    assert not is_printed("the tables are at revision ..., and that is fine")
