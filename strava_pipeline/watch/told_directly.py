"""What bridges of one home told without the database, until the tables hold it.

It stands in a file, so that a bridge that takes over, or starts anew, neither tells it again nor leaves its end untold.
Where no file can be written, as on a full disk, each bridge knows what it told by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from strava_pipeline.local.private_files import write_atomically
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.watch.findings import Finding

log = get_logger(__name__)


class ToldDirectly:
    """Findings that were told; none of them concerns an athlete. ``path``: the file of all bridges of a home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: dict[str, str] = {}

    def findings(self) -> list[Finding]:
        """What this or another bridge of the home told."""
        told = self._read() | self._own
        return [Finding(rule, detail, is_told=True) for rule, detail in sorted(told.items())]

    def add(self, findings: Iterable[Finding]) -> None:
        """Note what has just been told."""
        self._own |= {each.rule: each.detail for each in findings}
        try:
            write_atomically(self._path, json.dumps(self._read() | self._own).encode())
        except OSError as error:
            log.warning("what was told without the database is forgotten if the bridge ends: %s", error.strerror)

    def forget(self) -> None:
        """Note that the tables hold it all."""
        self._own = {}
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be removed, and its alerts stay on: %s", self._path, error.strerror)

    def _read(self) -> dict[str, str]:
        try:
            told = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(rule): str(detail) for rule, detail in told.items()} if isinstance(told, dict) else {}
