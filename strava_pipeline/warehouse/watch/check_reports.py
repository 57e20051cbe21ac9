"""The rows of ``ops.alert_checks``: what each check of alerts told Dagster last. One bridge tells each change."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Connection, delete, or_, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.warehouse.schema.alert_tables import alert_checks
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.states import Severity

# Before the day is over after which a run would report it.
OLDEST_REPORT = timedelta(hours=23)
# Longer than all checks take to be reported, timeouts included.
LEASE = timedelta(minutes=3)
_c = alert_checks.c


def claim_report(connection: Connection, asset: str, severity: Severity, told: str) -> bool:
    """Claim a check that is to tell Dagster so; False if it did within a day, or another bridge has claimed it.

    Unless it is confirmed by :func:`note_reported`, it may be claimed again once :data:`LEASE` is over.
    """
    due_again = database_time() - OLDEST_REPORT + LEASE
    row = insert_or_update(alert_checks).values(asset=asset, severity=severity, told=told, told_at=due_again)
    is_due = or_(_c.told != row.excluded.told, _c.told_at < database_time() - OLDEST_REPORT)
    claimed = row.on_conflict_do_update(
        index_elements=[_c.asset, _c.severity],
        set_={"told": row.excluded.told, "told_at": row.excluded.told_at},
        where=is_due,
    ).returning(_c.asset)
    return connection.execute(claimed).first() is not None


def note_reported(connection: Connection, asset: str, severity: Severity, told: str) -> None:
    """Note that Dagster was told so.

    If another bridge has claimed the check for something else meanwhile, Dagster may have heard of the two in either
    order: it is told with the next look once more.
    """
    check = (_c.asset == asset, _c.severity == severity)
    connection.execute(update(alert_checks).where(*check, _c.told == told).values(told_at=database_time()))
    connection.execute(delete(alert_checks).where(*check, _c.told != told))


def forget_reports(connection: Connection, checks: Collection[tuple[str, Severity]]) -> None:
    """Note that Dagster was not told after all: it will be with the next look."""
    for asset, severity in checks:
        connection.execute(delete(alert_checks).where(_c.asset == asset, _c.severity == severity))
