"""Counts the rows of the analysts' tables."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, table

from strava_pipeline.warehouse.schema import analysis_tables  # noqa: F401  registers its tables
from strava_pipeline.warehouse.schema.tables import SCHEMA, metadata

# A view with a row per sample, counted because samples are most of the data.
POINTS = "activity_points"


def row_counts(connection: Connection) -> dict[str, int]:
    """Return the count of rows of each table of schema ``strava``, and of the view of all samples, by name."""
    stored = [each for each in metadata.sorted_tables if each.schema == SCHEMA]
    counts = {each.name: select(func.count()).select_from(each) for each in stored}
    counts[POINTS] = select(func.count()).select_from(table(POINTS, schema=SCHEMA))
    return {name: connection.execute(count).scalar_one() for name, count in counts.items()}
