"""The table of what metrics count (schema ``ops``)."""

from __future__ import annotations

from sqlalchemy import Column, Double, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.warehouse.schema.columns import key
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata

metric_totals = Table(
    "metric_totals",
    metadata,
    key("metric", Text, "what is counted"),
    key("labels", ARRAY(Text), "of which kind, such as endpoint, lane and result of a call; never whose"),
    Column("amount", Double, nullable=False, comment="how often, or how long in all, s; it never falls"),
    schema=SCHEMA,
    comment="sums over rows that have ended, which stay when the rows are deleted; a row is added once (is_counted)",
)
