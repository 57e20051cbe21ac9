"""The tables of backfills (schema ``ops``): their progress, and activities in quarantine."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Table, Text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import PutAside

job_progress = Table(
    "job_progress",
    metadata,
    key("run_id", Text, "Dagster's id of the run"),
    key("athlete_id", BigInteger, "whose history"),
    columns.instant("span_start", "the run covers activities that start from here on (UTC)", required=True),
    columns.instant("span_end", "and before this (UTC)", required=True),
    columns.text("step", "asset the run is at", required=True),
    columns.integer("listed", "activities stored in the span", required=True),
    columns.integer("detailed", "of these, with a current detail", required=True),
    columns.integer("streamed", "of these, with samples, or known to have none", required=True),
    columns.integer("requests", "requests the run has sent so far", required=True),
    columns.text("waiting_for", "why no request is sent just now; empty: it is at work"),
    columns.instant("waiting_until", "how long that lasts (UTC)"),
    columns.instant("estimated_end", "when the span may be complete (UTC), by the limits and the pace so far"),
    columns.instant("started_at", "when the run began (UTC)", required=True),
    columns.instant(
        "updated_at", "when this last changed (UTC); long ago and not finished: its process died", required=True
    ),
    columns.instant("finished_at", "when the run's last step ended (UTC)"),
    Index(None, "updated_at"),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="how far backfills are: one row per run and athlete",
)

put_aside = Table(
    "put_aside",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity"),
    key("step", Text, "summary, detail or streams: what could not be stored"),
    columns.bigint("athlete_id", "whose activity", required=True),
    columns.text("reason", "why, in one line", required=True),
    columns.instant("span_start", "it was met among the activities that start from here on (UTC)", required=True),
    columns.instant("span_end", "and before this (UTC)", required=True),
    columns.instant("since", "when it was first put aside (UTC)", required=True),
    columns.instant("tried_at", "when it was last tried (UTC)", required=True),
    columns.text(
        "kind",
        "unusable (Strava refused, or its answer cannot be stored), unanswered (Strava failed), or hidden (Strava shows"
        " it no more: the next listing deletes it)",
        required=True,
    ),
    columns.integer("tries", "how often it was tried", required=True),
    columns.instant("retry_at", "not lacking before (UTC); a person's backfill tries it anyway", required=True),
    only("kind", PutAside),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="activities that could not be stored; they are tried again after 1, 7 and 30 days, and with each backfill",
)
