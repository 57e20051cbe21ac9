"""The tables of checks by month (schema ``ops``): which months changed, and what was found in each."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Index, Table, text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import column, key
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata

changed_months = Table(
    "changed_months",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True, comment="order of the marks"),
    columns.bigint("athlete_id", "whose month", required=True),
    column("month", Date, "first day of the month (UTC)", required=True),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="months whose activities, answers, samples or put-aside activities changed since they were last checked",
)

month_checks = Table(
    "month_checks",
    metadata,
    key("athlete_id", BigInteger, "whose month"),
    key("month", Date, "first day of the month (UTC)"),
    columns.integer("twice", "activities that were recorded twice", required=True),
    columns.integer("lacks_detail", "listed activities without their current detail", required=True),
    columns.integer("detail_aside", "of these, put aside", required=True),
    columns.integer("lacks_samples", "activities without their samples", required=True),
    columns.integer("samples_aside", "of these, put aside", required=True),
    columns.instant("checked_at", "when that was counted (UTC)", required=True),
    columns.instant("due_at", "when the counts change by themselves (UTC); empty: not before the month changes"),
    Index("ix_month_checks_twice", "month", postgresql_where=text("twice > 0")),
    Index("ix_month_checks_details", "athlete_id", postgresql_where=text("lacks_detail > 0")),
    Index("ix_month_checks_samples", "athlete_id", postgresql_where=text("lacks_samples > 0")),
    Index(None, "checked_at"),
    Index("ix_month_checks_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    schema=SCHEMA,
    comment="what may be wrong with each athlete's month, as of its last check",
)
