"""The table of upkeep (schema ``ops``): what is compared with Strava again and again, and when it is due."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Table, Text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import UpkeepKind

upkeep = Table(
    "upkeep",
    metadata,
    key("athlete_id", BigInteger, "whose data; 0: of all athletes"),
    key("kind", Text, "recent, history, profile, gear, details or loads"),
    key("subject", Text, "for gear: its id; else empty"),
    columns.instant("due_at", "when it is due (UTC); the most overdue goes first", required=True),
    columns.instant("done_at", "when it was last done (UTC)"),
    columns.integer("requests", "requests to Strava that it took then"),
    columns.integer("failures", "how often it failed in a row", required=True),
    columns.text("error", "why it last failed, in one line; empty: it was done"),
    columns.bigint("takes", "how often it was taken up; a worker with an older number may not end it", required=True),
    columns.instant("lease_until", "a worker is at it until here (UTC) unless that is extended; empty: nobody"),
    only("kind", UpkeepKind),
    Index(None, "due_at"),
    schema=SCHEMA,
    comment="what is compared with Strava again and again, and when it is due next",
)

upkeep_pages = Table(
    "upkeep_pages",
    metadata,
    key("athlete_id", BigInteger, "whose activities are listed"),
    key("before_s", BigInteger, "the page has activities that start before this time (s since 1970)"),
    columns.instant("listed_from", "the listing has activities that start from here (UTC)", required=True),
    columns.instant("listed_to", "the listing has activities that start before this time (UTC)", required=True),
    columns.instant("asked_at", "when Strava was asked for the listing's first page (UTC)", required=True),
    columns.text("activities", "Strava's answer, JSON", required=True),
    schema=SCHEMA,
    comment="pages of a whole history that was not listed to its end; the next turn goes on behind them",
)
