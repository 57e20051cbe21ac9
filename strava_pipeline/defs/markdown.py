"""Lists of texts in Dagster's UI, which reads them as Markdown: texts of others stay texts there."""

from __future__ import annotations

import re
from collections.abc import Iterable

import dagster as dg

from strava_pipeline.printable import printable

_BACKTICKS = re.compile("`+")


def listing(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """One point per line, as code: no link, picture or HTML in it counts."""
    return dg.MetadataValue.md("\n".join(f"- {_code(printable(line))}" for line in lines))


def _code(text: str) -> str:
    """A code span around the text, fenced by more backticks than stand together in it."""
    fence = "`" * (1 + max((len(found) for found in _BACKTICKS.findall(text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{padding}{text}{padding}{fence}"
