"""Marks the months of an athlete that are to be checked again.

Whoever changes activities, their answers, their samples or what is put aside of them marks their months, in the same
transaction: those in which they started before, and those in which they start now. Marks are only added, so nobody
waits for another; :mod:`strava_pipeline.warehouse.activities.month_checks` takes them away.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Date, cast, func, insert, select

from strava_pipeline.warehouse.schema.check_tables import changed_months
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.tables import activities


def mark_changed(connection: Connection, activity_ids: Collection[int]) -> None:
    """Mark the months (UTC) in which these activities start, as they are stored now."""
    if not activity_ids:
        return
    month = cast(func.date_trunc("month", func.timezone("UTC", activities.c.start_date)), Date)
    months = select(activities.c.athlete_id, month).where(any_of(activities.c.id, activity_ids)).distinct()
    connection.execute(insert(changed_months).from_select(["athlete_id", "month"], months))
