"""The tables of Strava's raw answers (schema ``ops``), and of the activities that are gone."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Index,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import column, key
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, stamped
from strava_pipeline.warehouse.schema.tables import metadata

tombstones = Table(
    "tombstones",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity that is gone"),
    columns.bigint("athlete_id", "whose it was", required=True),
    columns.instant(
        "asked_at", "when Strava was asked whether it is still there (UTC); older answers are void", required=True
    ),
    stamped("deleted_at", "when what was stored of it was deleted (UTC)"),
    columns.text("reason", "what told that it is gone", required=True),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="activities that Strava no longer has, so that a late answer brings none of them back",
)

payloads = Table(
    "payloads",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity"),
    key("kind", Text, "summary or detail"),
    columns.bigint("athlete_id", "Strava's id of the athlete", required=True),
    column(
        "body", JSON, "Strava's answer as it came, with the title or privacy that an event told since", required=True
    ),
    columns.text("digest", "of the fields whose change calls for a new detail", required=True),
    columns.instant("fetched_at", "when it was asked for (UTC)", required=True),
    columns.instant("mapped_at", "when a re-map last rebuilt rows from it (UTC); empty: never"),
    Index(None, "athlete_id", "kind"),
    Index("ix_payloads_details", "fetched_at", postgresql_where=text("kind = 'detail'")),
    schema=SCHEMA,
    comment="raw answers, so that tables can be rebuilt without one request",
)
