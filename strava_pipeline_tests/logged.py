"""What is logged meanwhile, as the JSON lines of our processes have it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strava_pipeline.log_lines import JsonLines


class _Lines(logging.Handler):
    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self.lines, self.formatter = lines, JsonLines()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def logged(name: str) -> Iterator[list[dict[str, Any]]]:
    """The lines of a logger, and those below it, from INFO on."""
    lines: list[dict[str, Any]] = []
    logger, handler = logging.getLogger(name), _Lines(lines)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
