"""The tables that tell how a history comes in (schema ``ops``): progress of backfills, activities put aside."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Table, Text

from strava_pipeline.warehouse.schema import columns as c
from strava_pipeline.warehouse.schema.columns import key
from strava_pipeline.warehouse.schema.tables import metadata

SCHEMA = "ops"

job_progress = Table(
    "job_progress",
    metadata,
    key("run_id", Text, "Dagster's id of the run"),
    key("athlete_id", BigInteger, "whose history"),
    c.instant("span_start", "the run covers activities that start from here on (UTC)", required=True),
    c.instant("span_end", "and before this (UTC)", required=True),
    c.text("step", "asset the run is at", required=True),
    c.integer("listed", "activities stored in the span", required=True),
    c.integer("detailed", "of these, with a current detail", required=True),
    c.integer("streamed", "of these, with samples, or known to have none", required=True),
    c.integer("requests", "requests the run has sent so far", required=True),
    c.text("waiting_for", "why no request is sent just now; empty: it is at work"),
    c.instant("waiting_until", "how long that lasts (UTC)"),
    c.instant("estimated_end", "when the span may be complete (UTC), by the limits and the pace so far"),
    c.instant("started_at", "when the run began (UTC)", required=True),
    c.instant("updated_at", "when this last changed (UTC); long ago and not finished: its process died", required=True),
    c.instant("finished_at", "when the run's last step ended (UTC)"),
    Index(None, "updated_at"),
    schema=SCHEMA,
    comment="how far backfills are: one row per run and athlete",
)

put_aside = Table(
    "put_aside",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity"),
    key("step", Text, "summary, detail or streams: what could not be stored"),
    c.bigint("athlete_id", "whose activity", required=True),
    c.text("reason", "why, in one line", required=True),
    c.instant("span_start", "it was met among the activities that start from here on (UTC)", required=True),
    c.instant("span_end", "and before this (UTC)", required=True),
    c.instant("since", "when it was first put aside (UTC)", required=True),
    c.instant("tried_at", "when it was last tried (UTC)", required=True),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="activities that could not be stored; they are tried again with each backfill",
)
