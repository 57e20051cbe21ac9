"""Asset checks: faults of the tables show beside the assets in Dagster's UI, and stop nothing."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Connection

from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.names import Asset, Names
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.activities.quality import (
    Missing,
    OutOfRange,
    Silence,
    out_of_range,
    recorded_twice,
    silences,
    without_detail,
    without_streams,
)
from strava_pipeline.warehouse.activities.quarantine import count_quarantined
from strava_pipeline.warehouse.states import Severity
from strava_pipeline.warehouse.watch.alerts import standing_alerts
from strava_pipeline.watch.alert_checks import ALERT_CHECKS, ALERTS, CHECK_NAMES, alert_checks

# An athlete who rides every week has an event within this time; others may be on holiday, hence only a warning.
SILENT = timedelta(days=21)
# Dagster keeps what a check tells with each of its results.
MOST_LINES = 25
AS_LISTED = "as_listed"


def as_listed_spec(names: Names) -> dg.AssetCheckSpec:
    """Return the check whose result the asset itself tells: a listing knows it, and the tables do not."""
    return dg.AssetCheckSpec(
        AS_LISTED,
        asset=dg.AssetKey(names.asset_path(Asset.ACTIVITIES)),
        description="Every activity that Strava lists is stored, or known to be gone.",
    )


def values_in_range(connection: Connection) -> dg.AssetCheckResult:
    """No distance or time below zero, no heart rate over 250 bpm, no start in the future."""
    return _none_of(out_of_range(connection))


def nothing_twice(connection: Connection) -> dg.AssetCheckResult:
    """No two activities of one athlete with the same start, length and sport."""
    return _none_of(recorded_twice(connection))


def nothing_put_aside(connection: Connection) -> dg.AssetCheckResult:
    """No activity that could not be stored."""
    counts = count_quarantined(connection)
    lines = [f"athlete {athlete}: {count} activities put aside" for athlete, count in sorted(counts.items())]
    return _result(not counts, lines, dg.AssetCheckSeverity.ERROR)


def details_complete(connection: Connection) -> dg.AssetCheckResult:
    """Every listed activity has its current detail, or is put aside with a reason."""
    return _complete(without_detail(connection))


def streams_complete(connection: Connection) -> dg.AssetCheckResult:
    """Every activity has its samples, is known to have none, or is put aside with a reason."""
    return _complete(without_streams(connection))


def athletes_are_heard_of(connection: Connection) -> dg.AssetCheckResult:
    """Each connected athlete had a webhook event within three weeks."""
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
    named = ", ".join(map(str, sorted(overdue)[:MOST_LINES]))
    more = f" and {len(overdue) - MOST_LINES} more" if len(overdue) > MOST_LINES else ""
    told = f"not heard of for three weeks: {named}{more}" if overdue else "all were heard of within three weeks"
    return _result(not overdue, lines, dg.AssetCheckSeverity.WARN, told)


def _tells_alerts(asset: str, severity: Severity) -> "Check":
    """The check that tells alerts of one severity that concern an asset; the bridge reports it as soon as they change.

    It has no description, and its metadata are as the bridge reports them: two equal results are told once.
    """

    def tell(connection: Connection) -> dg.AssetCheckResult:
        found = next(
            check
            for check in alert_checks(standing_alerts(connection))
            if (check.asset, check.severity) == (asset, severity)
        )
        return dg.AssetCheckResult(
            passed=found.passed,
            severity=dg.AssetCheckSeverity(found.dagsters_severity),
            metadata={} if found.passed else {ALERTS: dg.MetadataValue.text(found.told)},
        )

    tell.__name__ = CHECK_NAMES[severity]
    tell.__doc__ = f"No {severity} alert is on that concerns {asset}: see strava-pipeline alerts list."
    return tell


Check = Callable[[Connection], dg.AssetCheckResult]
_CHECKS_OF_TABLES: Mapping[str, Sequence[Check]] = {
    Asset.ACTIVITIES: (values_in_range, nothing_twice, nothing_put_aside),
    Asset.DETAILS: (details_complete,),
    Asset.STREAMS: (streams_complete,),
    Asset.ATHLETES: (athletes_are_heard_of,),
}
CHECKS_OF: Mapping[str, Sequence[Check]] = {
    asset: (*checks, *(_tells_alerts(asset, severity) for named, severity in ALERT_CHECKS if named == asset))
    for asset, checks in _CHECKS_OF_TABLES.items()
}


def checks(plan: Plan) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the assets that are kept."""
    kept = {asset: of_asset for asset, of_asset in CHECKS_OF.items() if asset in plan.kept}
    return [_definition(plan.key(asset), check) for asset, of_asset in kept.items() for check in of_asset]


def _definition(asset: dg.AssetKey, check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=check.__name__, description=check.__doc__)
    def read_tables(strava_warehouse: WarehouseResource) -> dg.AssetCheckResult:
        check_changed_months(strava_warehouse.engine)
        with strava_warehouse.engine.connect() as connection:
            return check(connection)

    return read_tables


def _since(silence: Silence, moment: datetime) -> str:
    if silence.last_event_at is None:
        return "no event so far"
    days = (moment - silence.last_event_at).days
    return f"last event {days} days ago, {silence.last_event_at:%Y-%m-%d %H:%M} UTC"


def _none_of(found: Sequence[OutOfRange]) -> dg.AssetCheckResult:
    lines = [f"activity {odd.activity_id} of athlete {odd.athlete_id}: {odd.what}" for odd in found]
    return _result(not found, lines, dg.AssetCheckSeverity.WARN)


def _complete(found: Sequence[Missing]) -> dg.AssetCheckResult:
    lines = [
        f"athlete {missing.athlete_id}: {missing.unexplained} still missing, {missing.explained} put aside"
        for missing in found
    ]
    # Missing parts may be on their way, since a backfill goes month by month: hence only a warning.
    return _result(not any(missing.unexplained for missing in found), lines, dg.AssetCheckSeverity.WARN)


def _result(
    passed: object, lines: Sequence[str], severity: dg.AssetCheckSeverity, description: str | None = None
) -> dg.AssetCheckResult:
    shown = [*lines[:MOST_LINES], *([f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else [])]
    metadata = {"found": dg.MetadataValue.md("\n".join(f"- {line}" for line in shown))} if shown else {}
    return dg.AssetCheckResult(passed=bool(passed), severity=severity, metadata=metadata, description=description)
