"""The table of what became of deliveries (schema ``ops``), counted by every bridge."""

from __future__ import annotations

from sqlalchemy import Table, Text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import DeliveryOutcome

delivery_counts = Table(
    "delivery_counts",
    metadata,
    key("slot", UTC_TIME, "start of the five minutes in which they were answered (UTC, by the bridge's clock)"),
    key("outcome", Text, "stored, duplicate, stranger (of nobody who is connected) or rejected"),
    key("reason", Text, "why they were rejected; else empty"),
    key("bridge", Text, "the process that counted: a random name that it has until its end"),
    columns.bigint("deliveries", "how many", required=True),
    columns.integer("slowest_ms", "longest time from request to answer, ms", required=True),
    columns.bigint("subscription_id", "subscription of the last one that was rejected as of another; else empty"),
    only("outcome", DeliveryOutcome),
    schema=SCHEMA,
    comment="what became of deliveries, in slots of five minutes",
)
