"""Tables of history for analysts, payloads, the analyst's role."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_FETCHED = "when the stored answer was asked for (UTC); an older answer never replaces a newer one"


def upgrade() -> None:
    _create_segments()
    _create_photos()
    _create_athlete_stats()
    _create_athlete_zones()
    _change_existing_tables()
    _create_job_progress()
    _create_put_aside()


def _key(name: str, kind: sa.types.TypeEngine[Any], comment: str) -> sa.Column[Any]:
    return sa.Column(name, kind, autoincrement=False, nullable=False, comment=comment)


def _fetched() -> sa.Column[Any]:
    return sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False, comment=_FETCHED)


def _create_segments() -> None:
    op.create_table(
        "segments",
        _key("id", sa.BigInteger(), "Strava's id of the segment"),
        sa.Column("name", sa.Text(), nullable=True, comment="name"),
        sa.Column("activity_type", sa.Text(), nullable=True, comment="Ride or Run"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("average_grade", sa.Double(), nullable=True, comment="mean grade, percent"),
        sa.Column("maximum_grade", sa.Double(), nullable=True, comment="steepest grade, percent"),
        sa.Column("elevation_high", sa.Double(), nullable=True, comment="highest point, m"),
        sa.Column("elevation_low", sa.Double(), nullable=True, comment="lowest point, m"),
        sa.Column(
            "start_latlng",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="latitude and longitude of the start, degrees",
        ),
        sa.Column(
            "end_latlng",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="latitude and longitude of the end, degrees",
        ),
        sa.Column(
            "climb_category",
            sa.Integer(),
            nullable=True,
            comment="0 none, 1 the easiest (category 4) to 5 the hardest (hors categorie)",
        ),
        sa.Column("city", sa.Text(), nullable=True, comment="city"),
        sa.Column("state", sa.Text(), nullable=True, comment="state or region"),
        sa.Column("country", sa.Text(), nullable=True, comment="country"),
        sa.Column("private", sa.Boolean(), nullable=True, comment="visible to its maker only"),
        sa.Column("hazardous", sa.Boolean(), nullable=True, comment="marked as dangerous"),
        _fetched(),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        schema="strava",
        comment="one row per segment that an athlete has ridden or run; the efforts are in segment_efforts",
    )


def _create_photos() -> None:
    op.create_table(
        "photos",
        _key("activity_id", sa.BigInteger(), "Strava's id of the activity"),
        _key("unique_id", sa.Text(), "Strava's id of the photo"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "use_primary_photo", sa.Boolean(), nullable=True, comment="the athlete chose it as the activity's picture"
        ),
        sa.Column("source", sa.Integer(), nullable=True, comment="1 Strava, 2 Instagram"),
        sa.Column("media_type", sa.Integer(), nullable=True, comment="1 photo, 2 video"),
        sa.Column(
            "urls",
            postgresql.JSON(),
            nullable=True,
            comment="addresses by width in pixels; Strava may change them at any time",
        ),
        sa.PrimaryKeyConstraint("activity_id", "unique_id", name="pk_photos"),
        schema="strava",
        comment="one row per activity with photos: its main photo, the only one of which a detail tells",
    )


def _create_athlete_stats() -> None:
    op.create_table(
        "athlete_stats",
        _key("athlete_id", sa.BigInteger(), "Strava's id of the athlete"),
        _key("taken_on", sa.Date(), "day of the snapshot (UTC)"),
        _key("period", sa.Text(), "recent: the last four weeks, ytd: the calendar year so far, all: all time"),
        _key("sport", sa.Text(), "ride, run or swim"),
        sa.Column(
            "count",
            sa.Integer(),
            nullable=False,
            comment="number of activities; Strava counts only those that everyone may see",
        ),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("elevation_gain", sa.Double(), nullable=True, comment="metres climbed, m"),
        sa.Column("achievement_count", sa.Integer(), nullable=True, comment="achievements won (recent)"),
        sa.Column(
            "biggest_ride_distance", sa.Double(), nullable=True, comment="longest ride, m (only beside all rides)"
        ),
        sa.Column(
            "biggest_climb_elevation_gain",
            sa.Double(),
            nullable=True,
            comment="highest climb, m (only beside all rides)",
        ),
        _fetched(),
        sa.PrimaryKeyConstraint("athlete_id", "taken_on", "period", "sport", name="pk_athlete_stats"),
        schema="strava",
        comment="Strava's totals of each athlete, one snapshot a day, one row per period and sport",
    )


def _create_athlete_zones() -> None:
    op.create_table(
        "athlete_zones",
        _key("athlete_id", sa.BigInteger(), "Strava's id of the athlete"),
        _key("kind", sa.Text(), "heart_rate or power"),
        _key(
            "valid_from",
            sa.Date(),
            "first day on which Strava was seen to give these zones (UTC); they hold until the next",
        ),
        _key("zone", sa.Integer(), "number of the zone, from 1"),
        sa.Column("min", sa.Integer(), nullable=False, comment="lower end, bpm or W"),
        sa.Column("max", sa.Integer(), nullable=True, comment="upper end, bpm or W; empty when open"),
        sa.Column("custom_zones", sa.Boolean(), nullable=True, comment="set by the athlete, not computed by Strava"),
        _fetched(),
        sa.PrimaryKeyConstraint("athlete_id", "kind", "valid_from", "zone", name="pk_athlete_zones"),
        schema="strava",
        comment="zones of heart rate and power, one row per zone, with the day from which they hold",
    )


def _change_existing_tables() -> None:
    op.add_column(
        "payloads",
        sa.Column(
            "mapped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a re-map last rebuilt rows from it (UTC); empty: never",
        ),
        schema="ops",
    )
    op.alter_column(
        "activities",
        "start_date_local",
        comment="start, local wall time there; a start time that Strava hides reads 00:00:01",
        schema="strava",
    )
    op.create_index("ix_activities_gear_id", "activities", ["gear_id"], schema="strava")
    op.create_index(
        "ix_best_efforts_athlete_id_name_elapsed_time",
        "best_efforts",
        ["athlete_id", "name", "elapsed_time"],
        schema="strava",
    )


def _create_job_progress() -> None:
    op.create_table(
        "job_progress",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False, comment="Dagster's id of the run"),
        sa.Column("athlete_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="whose history"),
        sa.Column(
            "span_start",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the run covers activities that start from here on (UTC)",
        ),
        sa.Column("span_end", sa.DateTime(timezone=True), nullable=False, comment="and before this (UTC)"),
        sa.Column("step", sa.Text(), nullable=False, comment="asset the run is at"),
        sa.Column("listed", sa.Integer(), nullable=False, comment="activities stored in the span"),
        sa.Column("detailed", sa.Integer(), nullable=False, comment="of these, with a current detail"),
        sa.Column("streamed", sa.Integer(), nullable=False, comment="of these, with samples, or known to have none"),
        sa.Column("requests", sa.Integer(), nullable=False, comment="requests the run has sent so far"),
        sa.Column(
            "waiting_for", sa.Text(), nullable=True, comment="why no request is sent just now; empty: it is at work"
        ),
        sa.Column("waiting_until", sa.DateTime(timezone=True), nullable=True, comment="how long that lasts (UTC)"),
        sa.Column(
            "estimated_end",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the span may be complete (UTC), by the limits and the pace so far",
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="when the run began (UTC)"),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when this last changed (UTC); long ago and not finished: its process died",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="when the run's last step ended (UTC)"
        ),
        sa.PrimaryKeyConstraint("run_id", "athlete_id", name=op.f("pk_job_progress")),
        schema="ops",
        comment="how far backfills are: one row per run and athlete",
    )
    op.create_index(op.f("ix_job_progress_updated_at"), "job_progress", ["updated_at"], unique=False, schema="ops")


def _create_put_aside() -> None:
    op.create_table(
        "put_aside",
        sa.Column(
            "activity_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"
        ),
        sa.Column(
            "step",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="summary, detail or streams: what could not be stored",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="whose activity"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why, in one line"),
        sa.Column(
            "span_start",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="it was met among the activities that start from here on (UTC)",
        ),
        sa.Column("span_end", sa.DateTime(timezone=True), nullable=False, comment="and before this (UTC)"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="when it was first put aside (UTC)"),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False, comment="when it was last tried (UTC)"),
        sa.PrimaryKeyConstraint("activity_id", "step", name=op.f("pk_put_aside")),
        schema="ops",
        comment="activities that could not be stored; they are tried again with each backfill",
    )
    op.create_index(op.f("ix_put_aside_athlete_id"), "put_aside", ["athlete_id"], unique=False, schema="ops")
