"""What the commands say of archive imports: plans, reports, and what is stored then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from strava_pipeline.months import month_text

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.sync.archive_plan import ArchivePlan
    from strava_pipeline.sync.archive_report import Report

# Of files, words and doubts, so many are named; `archive show --format json` has more.
NAMED = 10


def count_words(report: Report) -> str:
    """What an import held, in a few words."""
    return f"{counted(report.rows, 'row')}, {counted(report.recordings, 'recording')}"


def report_lines(report: Report) -> Iterator[str]:
    """Yield a quality report line by line, without what there is none of."""
    yield (
        f"{counted(report.rows, 'row')}, {report.merged:,} of them of activities that Strava's API tells of;"
        f" {counted(report.recordings, 'recording')}, {report.matched:,} of them of Strava's activities, {report.own:,}"
        f" activities of their own; {report.requests} requests to Strava"
    )
    yield from _counted(
        {
            "rows without a recording": report.without_file,
            "recordings that Strava could not write": report.failed_exports,
            "rows that name no recording of this archive": report.stray_filenames,
            "activities that were deleted at Strava, and stay so": report.gone,
            "recordings that the archive lacks": report.missing,
            "recordings of which the activity is a part only": report.cropped,
            "names that point out of the archive, not opened": report.strays,
            "photos and videos, not stored": report.photos,
            "recordings of which nothing can be read": report.unreadable - report.postponed,
            "recordings that were not read, and are tried once more if you import the same again": report.postponed,
        }
    )
    yield from _kinds("rows that cannot be read", report.skipped)
    yield from _kinds("damaged recordings, of which the rest was read", report.damaged)
    yield from _kinds("unknown words for sports (--sport 'WORD=Run' tells one)", report.sport_words)
    for title, texts, count in (
        ("cannot be read", report.faults, report.unreadable),
        ("is missing", report.missing_files, report.missing),
        ("in doubt", report.doubts, len(report.doubts)),
        ("bad row", report.bad_rows, sum(report.skipped.values())),
    ):
        yield from (f"  {title}: {text}" for text in texts[:NAMED])
        if count > NAMED:
            yield f"  ... and {count - NAMED:,} more"


def plan_lines(plan: ArchivePlan) -> Iterator[str]:
    """Yield what an import would do, line by line."""
    if plan.imported_before is not None:
        yield f"{plan.name} was imported before, by archive import {plan.imported_before}: nothing would change"
        return
    index, found = plan.index, plan.forecast
    months = plan.months
    span = f" in {counted(len(months), 'month')}, {month_text(months[-1])} to {month_text(months[0])}" if months else ""
    yield f"{plan.name}: {counted(index.rows, 'row')}{span}; {counted(plan.recordings, 'recording')}"
    yield (
        f"activities: {found.new:,} new, {found.merged:,} that Strava's API tells of, {found.changed:,} that an earlier"
        f" archive tells otherwise, {found.unchanged:,} unchanged, {found.gone:,} deleted at Strava, which stay so"
    )
    yield from _counted(
        {
            "rows without a recording": index.without_file,
            "recordings that the archive lacks": len(index.missing),
            "recordings that no row names": len(index.loose),
            "names that point out of the archive, not opened": plan.strays,
            "photos and videos, not stored": plan.photos,
            "recordings that would be refused": len(plan.refused),
        }
    )
    yield from _kinds("rows that cannot be read", index.skipped)
    yield from _kinds("unknown words for sports (--sport 'WORD=Run' tells one)", index.unknown_words)
    yield from (f"  would be refused: {text}" for text in plan.refused[:NAMED])
    yield "nothing was changed"


def history_line(engine: Engine, athlete_id: int) -> str:
    """What is stored of an athlete now, and what to do next."""
    from strava_pipeline.warehouse.archives.import_counts import stored_history

    with engine.connect() as connection:
        found = stored_history(connection, athlete_id)
    if found.first is None or found.last is None:
        return f"athlete {athlete_id}: no activities are stored"
    return (
        f"athlete {athlete_id}: {counted(found.activities, 'activity')} from {found.first:%Y-%m-%d} to"
        f" {found.last:%Y-%m-%d}, {found.with_recording:,} with a recording; strava-pipeline up shows them"
    )


def _counted(counts: Mapping[str, int]) -> Iterator[str]:
    return (f"{what}: {count:,}" for what, count in counts.items() if count)


def _kinds(title: str, kinds: Mapping[str, int]) -> Iterator[str]:
    if kinds:
        first = list(kinds.items())[:NAMED]
        told = ", ".join(f"{kind} ({count:,})" for kind, count in first)
        yield f"{title}: {told}{', ...' if len(kinds) > NAMED else ''}"


def counted(count: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"
