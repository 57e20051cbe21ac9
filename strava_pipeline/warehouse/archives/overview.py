"""What archive imports brought: the last ones for the operator's page, and the requests that they save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.archives.imports import ArchiveImport, load_import
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import ArchiveState, CameBy, PayloadKind, StreamSource

# Figures of a report that tell whether all is well, and the words for one of them and for several.
SHOWN_COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "rows": ("activity", "activities"),
    "recordings": ("recording", "recordings"),
    "merged": ("known to Strava's API", "known to Strava's API"),
    "unreadable": ("unreadable", "unreadable"),
    "skipped": ("skipped", "skipped"),
}
_c = archive_imports.c


@dataclass(frozen=True)
class Saved:
    """Requests that are not sent, because what they would ask for was handed in."""

    details: int = 0
    streams: int = 0

    @property
    def requests(self) -> int:
        return self.details + self.streams

    def __str__(self) -> str:
        return (
            f"what was handed in saves {self.requests:,} requests: {self.details:,} for details, {self.streams:,} for"
            " samples"
        )


def saved_requests(connection: Connection, span: Span, *, archive_details: bool) -> Saved:
    """Count the requests that need not be sent for a span's activities; ``archive_details``: as the setting has it."""
    detail = payloads.alias("detail")
    told = and_(activities.c.archive_taken_at.is_not(None), detail.c.activity_id.is_(None))
    of_file = activity_streams.c.source == StreamSource.FILE
    query = (
        select(func.count().filter(told), func.count().filter(of_file))
        .select_from(activities)
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        # What a file alone tells, Strava would not be asked for.
        .where(in_span(span), or_(activities.c.told_by_api, activities.c.archive_taken_at.is_not(None)))
    )
    details, streams = connection.execute(query).one()
    return Saved(0 if archive_details else details, streams)


def ids_of_span(connection: Connection, span: Span) -> list[int]:
    """Return the ids of a span's stored activities."""
    return list(connection.execute(select(activities.c.id).where(in_span(span))).scalars())


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
    counts = {name: count_of(found.report or {}, name) for name in SHOWN_COUNTS}
    return ", ".join(f"{count:,} {SHOWN_COUNTS[name][count > 1]}" for name, count in counts.items() if count)
