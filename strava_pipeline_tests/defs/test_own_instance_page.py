"""docs/storage.md says of each block of our ``dagster.yaml`` what lacks without it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def told_blocks() -> set[str]:
    """The blocks in the first column of the table."""
    page = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    section = page.partition("## A dagster.yaml of your own")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return {block for cell in cells for block in re.findall(r"`(\w+):", cell)}


def test_each_block_of_our_file_is_explained() -> None:
    blocks = {*yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))}
    assert told_blocks() == blocks
