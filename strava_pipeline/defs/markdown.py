"""Lists of texts for Dagster's UI, which renders Markdown: foreign texts stay plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable

import dagster as dg

from strava_pipeline.printable import printable

_BACKTICKS = re.compile("`+")


def listing(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Make a list with each line as code, so that no link, picture or HTML in a line is rendered."""
    return dg.MetadataValue.md("\n".join(f"- {code(line)}" for line in lines))


def code(text: str) -> str:
    """Make a code span around a text in one line, with more backticks than any run of them in the text."""
    text = printable(text)
    fence = "`" * (1 + max((len(found) for found in _BACKTICKS.findall(text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{padding}{text}{padding}{fence}"
