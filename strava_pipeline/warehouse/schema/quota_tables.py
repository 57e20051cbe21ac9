"""The tables of requests to Strava (schema ``ops``): calls, rate windows, outages and the state of the app."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, column, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, counter, serial, stamped
from strava_pipeline.warehouse.schema.tables import metadata

app_status = Table(
    "app_status",
    metadata,
    key("id", Integer, "always 1: there is one app"),
    columns.instant("inactive_since", "since when Strava has the app switched off (UTC); empty: it is not"),
    columns.instant("probe_at", "when the next call may try whether it is on again (UTC)"),
    columns.text("reason", "Strava's words"),
    columns.number("clock_offset_s", "Strava's clock minus the database's, as learned from its answers, s"),
    columns.number("clock_error_s", "by how much that may be wrong, either way, s"),
    columns.instant(
        "clock_learned_at", "when an answer last confirmed that (UTC); empty: never, or one contradicts it"
    ),
    CheckConstraint("id = 1", name="one"),
    schema=SCHEMA,
    comment="what all processes know of the Strava app",
)

outages = Table(
    "outages",
    metadata,
    key("service", Text, "api or oauth"),
    columns.integer("unanswered", "calls in a row that Strava did not answer", required=True),
    columns.instant("first_sent_at", "when the first of these was sent (UTC); empty: the last call was answered"),
    columns.bigint("only_activity", "Strava's id of the activity that all of them are about; empty: none, or several"),
    column("several", Boolean, "they are not all about one activity", required=True),
    column("hosts", ARRAY(Text), "machines whose calls since then got no answer, at most 20", required=True),
    columns.instant("away_since", "since when nothing answers (UTC); empty: it is not away"),
    columns.instant("probe_at", "when the next call may try whether it answers again (UTC)"),
    columns.instant("probe_began_at", "when the last of these was booked (UTC); its answer alone moves probe_at"),
    columns.number("pause_s", "from a failed try to the next, s"),
    columns.text("reason", "why the last call had no answer"),
    only("service", Service),
    schema=SCHEMA,
    comment="whether Strava answers: what all processes know of their calls since its last answer",
)

api_calls = Table(
    "api_calls",
    metadata,
    serial("order of the reservations"),
    columns.text("lane", "live, reconcile or backfill", required=True),
    columns.text("endpoint", "path with ids left out", required=True),
    columns.bigint("athlete_id", "on whose behalf"),
    stamped("reserved_at", "when room was reserved (UTC), before the call was sent"),
    columns.instant("settled_at", "when the answer was in (UTC); empty: no answer, or the process died"),
    column("status", SmallInteger, "HTTP status; empty without an answer"),
    columns.number("duration_ms", "from sending to the whole answer, ms"),
    columns.is_counted(),
    Index(None, "reserved_at"),
    Index(None, "lane", "reserved_at"),
    # With calls under way, so that settling one changes no index.
    Index("ix_api_calls_uncounted", "id", postgresql_where=text("NOT is_counted")),
    schema=SCHEMA,
    comment="one row per request to Strava: reservation, record and metric at once",
)

quota_windows = Table(
    "quota_windows",
    metadata,
    key("scope", Text, "app, or athlete and an id, where the limits are the athlete's own"),
    key("length_s", Integer, "length of the window, s"),
    key("starts_at", UTC_TIME, "start (UTC)"),
    columns.integer("booked", "calls of ours that may count in this window", required=True),
    counter("booked_live", "of these, calls of the lane live"),
    counter("booked_reconcile", "of these, calls of the lane reconcile"),
    columns.integer("read_limit", "Strava's limit of reads, once known"),
    columns.integer("read_foreign", "reads Strava counted beyond ours", required=True),
    columns.integer("overall_limit", "Strava's limit of all calls, once known"),
    columns.integer("overall_foreign", "calls Strava counted beyond ours", required=True),
    columns.instant("blocked_until", "no call before this time (UTC, Strava's clock): Strava answered 429"),
    columns.instant(
        "newest_until",
        "backfills leave their room to a new athlete's newest month before this time (UTC, Strava's clock)",
    ),
    Index(None, "starts_at"),
    Index("ix_quota_windows_blocked", "scope", "blocked_until", postgresql_where=text("blocked_until IS NOT NULL")),
    schema=SCHEMA,
    comment="what is used of each of Strava's rate windows",
)
