"""The table of failed runs that were told (schema ``ops``)."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time, key
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata

failed_runs = Table(
    "failed_runs",
    metadata,
    key("run_id", Text, "Dagster's id of the run"),
    columns.instant("ended_at", "when it failed, by Dagster's clock (UTC)", required=True),
    Column(
        "found_at", UTC_TIME, nullable=False, server_default=database_time(), comment="when a bridge found it (UTC)"
    ),
    columns.instant("told_at", "when a message about it was made (UTC); empty: its events are told as dead letters"),
    Index(None, "ended_at"),
    Index(None, "found_at"),
    Index(None, "told_at"),
    schema=SCHEMA,
    comment="runs of ours that failed in Dagster, so that each is told once",
)
