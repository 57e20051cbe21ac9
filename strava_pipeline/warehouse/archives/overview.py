"""The last archive imports of all athletes, for the operator's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, or_, select

from strava_pipeline.warehouse.archives.imports import ArchiveImport, load_import
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.states import ArchiveState, CameBy

# Figures of a report that tell whether all is well, and the words for them.
SHOWN_COUNTS: Final[Mapping[str, str]] = {
    "rows": "activities",
    "recordings": "recordings",
    "merged": "known to Strava's API",
    "unreadable": "unreadable",
    "skipped": "skipped",
}
_c = archive_imports.c


def recent_imports(connection: Connection, limit: int) -> list[ArchiveImport]:
    """Return the last archive imports, the newest first; of the watched folder's only those that are not done."""
    told = or_(_c.came_by != CameBy.FOLDER, _c.state != ArchiveState.DONE)
    ids = select(_c.id).where(told).order_by(_c.begun_at.desc(), _c.id.desc()).limit(limit)
    return [load_import(connection, import_id) for import_id in connection.execute(ids).scalars()]


def count_of(report: Mapping[str, Any], name: str) -> int:
    """Return a count of a quality report; of what is counted by kind, the sum."""
    found = report.get(name) or 0
    return sum(found.values()) if isinstance(found, Mapping) else int(found)


def told_counts(found: ArchiveImport) -> str:
    """Return what an archive import brought, in words; empty while it has not ended."""
    counts = {words: count_of(found.report or {}, name) for name, words in SHOWN_COUNTS.items()}
    return ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)
