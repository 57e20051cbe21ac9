"""The tables of imports by month (schema ``ops``): which months were listed, and which failed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import BigInteger, Date, Index, Table, Text, text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import ImportStep

# No step of a month that failed rests longer.
LONGEST_MONTH_PAUSE = timedelta(days=1)

import_months = Table(
    "import_months",
    metadata,
    key("athlete_id", BigInteger, "whose month"),
    key("month", Date, "first day of the month (UTC)"),
    columns.instant("listed_at", "when Strava was asked for the listing that last replaced the month (UTC)"),
    columns.instant(
        "lake_at",
        "when the month's file in the lake was last made equal to the tables (UTC); 1970: begun, never finished",
    ),
    columns.instant(
        "lake_outdated_at",
        "when samples of the month last changed (UTC) that its file in the lake, if there is one, does not have so far",
    ),
    Index("ix_import_months_outdated", "lake_outdated_at", postgresql_where=text("lake_outdated_at IS NOT NULL")),
    Index("ix_import_months_in_lake", "athlete_id", postgresql_where=text("lake_at IS NOT NULL")),
    schema=SCHEMA,
    comment="months that an import has reached, those without activities, too, and months with samples",
)

failed_months = Table(
    "failed_months",
    metadata,
    key("athlete_id", BigInteger, "whose month"),
    key("month", Date, "first day of the month (UTC)"),
    key("step", Text, "the step that failed: summary, detail, streams, figures or lake"),
    columns.integer("failures", "how often it failed in a row", required=True),
    columns.text("error", "why it last failed, in one line", required=True),
    columns.instant("failed_at", "when that was (UTC)", required=True),
    columns.instant("retry_at", "when it is due again (UTC)", required=True),
    only("step", ImportStep),
    schema=SCHEMA,
    comment="steps of an import that failed for one month, until they succeed",
)
