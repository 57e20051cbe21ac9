"""Asset checks: faults of the tables show beside the assets in Dagster's UI, and stop nothing."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Connection

from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.names import Asset
from strava_pipeline.warehouse.activities.quality import (
    Missing,
    Silence,
    out_of_range,
    recorded_twice,
    silences,
    without_detail,
    without_streams,
)
from strava_pipeline.warehouse.activities.quarantine import count_quarantined

# An athlete who rides every week has an event within this time; others may be on holiday, hence only a warning.
SILENT = timedelta(days=21)


@dg.asset_check(asset=Asset.ACTIVITIES)
def values_in_range(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No distance or time below zero, no heart rate over 250 bpm, no start in the future."""
    with warehouse.engine.connect() as connection:
        found = out_of_range(connection)
    lines = [f"activity {odd.activity_id} of athlete {odd.athlete_id}: {odd.what}" for odd in found]
    return _result(not found, lines, dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=Asset.ACTIVITIES)
def nothing_twice(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No two activities of one athlete with the same start, length and sport."""
    with warehouse.engine.connect() as connection:
        found = recorded_twice(connection)
    lines = [f"activity {odd.activity_id} of athlete {odd.athlete_id}: {odd.what}" for odd in found]
    return _result(not found, lines, dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=Asset.ACTIVITIES)
def nothing_put_aside(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No activity that could not be stored."""
    with warehouse.engine.connect() as connection:
        counts = count_quarantined(connection)
    lines = [f"athlete {athlete}: {count} activities put aside" for athlete, count in sorted(counts.items())]
    return _result(not counts, lines, dg.AssetCheckSeverity.ERROR)


@dg.asset_check(asset=Asset.DETAILS)
def details_complete(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every listed activity has its current detail, or is put aside with a reason."""
    return _complete(warehouse, without_detail)


@dg.asset_check(asset=Asset.STREAMS)
def streams_complete(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every activity has its samples, is known to have none, or is put aside with a reason."""
    return _complete(warehouse, without_streams)


@dg.asset_check(asset=Asset.ATHLETES)
def athletes_are_heard_of(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Each connected athlete had a webhook event within three weeks."""
    with warehouse.engine.connect() as connection:
        found = silences(connection)
    moment = datetime.now(UTC)
    overdue = {
        silence.athlete_id
        for silence in found
        if silence.last_event_at is None or moment - silence.last_event_at >= SILENT
    }
    lines = [
        f"athlete {silence.athlete_id}{' (overdue)' if silence.athlete_id in overdue else ''}: "
        f"{_since(silence, moment)}"
        for silence in found
    ]
    named = f"not heard of for three weeks: {', '.join(map(str, sorted(overdue)))}" if overdue else None
    return _result(not overdue, lines, dg.AssetCheckSeverity.WARN, named)


CHECKS: Sequence[dg.AssetChecksDefinition] = (
    values_in_range,
    nothing_twice,
    nothing_put_aside,
    details_complete,
    streams_complete,
    athletes_are_heard_of,
)


def _since(silence: Silence, moment: datetime) -> str:
    if silence.last_event_at is None:
        return "no event so far"
    days = (moment - silence.last_event_at).days
    return f"last event {days} days ago, {silence.last_event_at:%Y-%m-%d %H:%M} UTC"


def _complete(warehouse: WarehouseResource, find: Callable[[Connection], list[Missing]]) -> dg.AssetCheckResult:
    with warehouse.engine.connect() as connection:
        found = find(connection)
    lines = [
        f"athlete {missing.athlete_id}: {missing.unexplained} still missing, {missing.explained} put aside"
        for missing in found
    ]
    # Missing parts may be on their way, since a backfill goes month by month: hence only a warning.
    return _result(not any(missing.unexplained for missing in found), lines, dg.AssetCheckSeverity.WARN)


def _result(
    passed: object, lines: Sequence[str], severity: dg.AssetCheckSeverity, description: str | None = None
) -> dg.AssetCheckResult:
    listing = "\n".join(f"- {line}" for line in lines)
    metadata = {"found": dg.MetadataValue.md(listing)} if lines else {}
    return dg.AssetCheckResult(passed=bool(passed), severity=severity, metadata=metadata, description=description)
