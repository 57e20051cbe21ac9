"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


# lz4 packs and unpacks faster than the default, which a server built without it keeps.
COMPRESS = """
DO $$
DECLARE wide record;
BEGIN
    IF 'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        FOR wide IN
            SELECT table_schema, table_name, column_name FROM information_schema.columns
            WHERE (table_schema, table_name) IN (('strava', 'activity_streams'), ('ops', 'payloads'))
              AND data_type IN ('ARRAY', 'json')
        LOOP
            EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I SET COMPRESSION lz4',
                           wide.table_schema, wide.table_name, wide.column_name);
        END LOOP;
    END IF;
END $$
"""
POINTS = """
CREATE VIEW strava.activity_points AS
SELECT s.activity_id, s.athlete_id, p.number - 1 AS point_index,
       p.time, p.distance, p.latitude, p.longitude, p.altitude, p.velocity_smooth, p.heartrate, p.cadence, p.watts,
       p.temp, p.moving, p.grade_smooth
FROM strava.activity_streams AS s
CROSS JOIN LATERAL unnest(
    s.time, s.distance, s.latitude, s.longitude, s.altitude, s.velocity_smooth, s.heartrate, s.cadence, s.watts,
    s.temp, s.moving, s.grade_smooth
) WITH ORDINALITY AS p(
    time, distance, latitude, longitude, altitude, velocity_smooth, heartrate, cadence, watts,
    temp, moving, grade_smooth, number
)
"""
POINT_COMMENTS = {
    "activity_id": "Strava's id of the activity",
    "athlete_id": "Strava's id of the athlete",
    "point_index": "number of the sample, from 0; what start_index and end_index of laps and efforts count",
    "time": "since the start, s",
    "distance": "since the start, m",
    "latitude": "degrees north",
    "longitude": "degrees east",
    "altitude": "m above sea level",
    "velocity_smooth": "speed, m/s",
    "heartrate": "heart rate, bpm",
    "cadence": "cadence, rpm",
    "watts": "power, W",
    "temp": "temperature, degrees Celsius",
    "moving": "in motion",
    "grade_smooth": "grade, percent",
}


def upgrade() -> None:
    _create_tables()
    op.execute(COMPRESS)
    op.execute(POINTS)
    op.execute("COMMENT ON VIEW strava.activity_points IS 'one row per sample of each activity'")
    for name, comment in POINT_COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON COLUMN strava.activity_points.{name} IS '{quoted}'")


def _create_tables() -> None:
    op.create_table(
        "api_calls",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order of the reservations"),
        sa.Column("lane", sa.Text(), nullable=False, comment="live, reconcile or backfill"),
        sa.Column("endpoint", sa.Text(), nullable=False, comment="path with ids left out"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=True, comment="on whose behalf"),
        sa.Column(
            "reserved_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when room was reserved (UTC), before the call was sent",
        ),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the answer was in (UTC); empty: no answer, or the process died",
        ),
        sa.Column("status", sa.SmallInteger(), nullable=True, comment="HTTP status; empty without an answer"),
        sa.Column("duration_ms", sa.Double(), nullable=True, comment="from sending to the whole answer, ms"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_calls")),
        schema="ops",
        comment="one row per request to Strava: reservation, record and metric at once",
    )
    op.create_index(op.f("ix_api_calls_reserved_at"), "api_calls", ["reserved_at"], unique=False, schema="ops")
    op.create_table(
        "payloads",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("kind", sa.Text(), autoincrement=False, nullable=False, comment="summary or detail"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "body",
            postgresql.JSON(astext_type=sa.Text()),
            nullable=False,
            comment="Strava's answer as it came",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="of the fields whose change calls for a new detail"),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False, comment="when it was asked for (UTC)"),
        sa.PrimaryKeyConstraint("activity_id", "kind", name=op.f("pk_payloads")),
        schema="ops",
        comment="raw answers, so that tables can be rebuilt without one request",
    )
    op.create_index(op.f("ix_payloads_athlete_id"), "payloads", ["athlete_id"], unique=False, schema="ops")
    op.create_table(
        "quota_windows",
        sa.Column("length_s", sa.Integer(), autoincrement=False, nullable=False, comment="length of the window, s"),
        sa.Column(
            "starts_at",
            sa.DateTime(timezone=True),
            autoincrement=False,
            nullable=False,
            comment="start (UTC)",
        ),
        sa.Column("booked", sa.Integer(), nullable=False, comment="calls of ours that may count in this window"),
        sa.Column("read_limit", sa.Integer(), nullable=True, comment="Strava's limit of reads, once known"),
        sa.Column("read_foreign", sa.Integer(), nullable=False, comment="reads Strava counted beyond ours"),
        sa.Column("overall_limit", sa.Integer(), nullable=True, comment="Strava's limit of all calls, once known"),
        sa.Column("overall_foreign", sa.Integer(), nullable=False, comment="calls Strava counted beyond ours"),
        sa.Column(
            "blocked_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no call before this time (UTC): Strava answered 429",
        ),
        sa.PrimaryKeyConstraint("length_s", "starts_at", name=op.f("pk_quota_windows")),
        schema="ops",
        comment="what is used of each of Strava's rate windows",
    )
    op.create_table(
        "token_audit",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order of the operations"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when (UTC)",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=True, comment="whose token; empty while unknown"),
        sa.Column("operation", sa.Text(), nullable=False, comment="exchange, refresh, revoke, rotate"),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=False,
            comment="ok, reused (another process had refreshed), or failed",
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="what went wrong, in Strava's words; never a token"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_audit")),
        schema="ops",
        comment="every operation on a token",
    )
    op.create_index(
        op.f("ix_token_audit_athlete_id_at"), "token_audit", ["athlete_id", "at"], unique=False, schema="ops"
    )
    op.create_table(
        "users",
        sa.Column(
            "athlete_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the athlete",
        ),
        sa.Column(
            "strava_access_token",
            sa.Text(),
            nullable=True,
            comment="envelope, AES-256-GCM; empty once erased",
        ),
        sa.Column(
            "strava_refresh_token",
            sa.Text(),
            nullable=True,
            comment="envelope, AES-256-GCM; empty once erased",
        ),
        sa.Column(
            "strava_token_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the access token ends (UTC)",
        ),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False, comment="permissions the athlete granted"),
        sa.Column("state", sa.Text(), nullable=False, comment="active, needs_reauth or revoked"),
        sa.Column(
            "generation",
            sa.Integer(),
            nullable=False,
            comment="rises with every new token pair; bound into the envelopes",
        ),
        sa.Column("email", sa.Text(), nullable=True, comment="where ride summaries go; empty for none"),
        sa.Column(
            "connected_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the athlete first connected (UTC)",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the row last changed (UTC)",
        ),
        sa.CheckConstraint("state IN ('active', 'needs_reauth', 'revoked')", name=op.f("ck_users_state")),
        sa.PrimaryKeyConstraint("athlete_id", name=op.f("pk_users")),
        schema="ops",
        comment="connected athletes and their tokens",
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False, comment="order of arrival"),
        sa.Column(
            "event_key",
            sa.Text(),
            nullable=False,
            comment="sha256 over what makes the event; redeliveries share it",
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="webhook, or reconcile when found by comparing"),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False, comment="Strava's id of the subscription"),
        sa.Column("object_type", sa.Text(), nullable=False, comment="activity or athlete"),
        sa.Column("object_id", sa.BigInteger(), nullable=False, comment="id of the activity or athlete"),
        sa.Column("aspect_type", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("owner_id", sa.BigInteger(), nullable=False, comment="athlete concerned"),
        sa.Column(
            "event_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it happened, as Strava says (UTC)",
        ),
        sa.Column("updates", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="what changed"),
        sa.Column("signed", sa.Boolean(), nullable=False, comment="the delivery carried a valid signature"),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was stored (UTC)",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="received, launched, waiting, done, dead or parked"),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="runs that tried and failed",
        ),
        sa.Column(
            "fence",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="rises with each claim; an older one is void",
        ),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True, comment="not to be claimed before (UTC)"),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the claim ends here (UTC) unless extended",
        ),
        sa.Column("run_id", sa.Text(), nullable=True, comment="Dagster run that has it, or had it last"),
        sa.Column("error_class", sa.Text(), nullable=True, comment="transient or permanent, when dead"),
        sa.Column("error", sa.Text(), nullable=True, comment="why the last try failed"),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was done or given up (UTC)",
        ),
        sa.CheckConstraint(
            "state IN ('received', 'launched', 'waiting', 'done', 'dead', 'parked')",
            name=op.f("ck_webhook_events_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint("event_key", name=op.f("uq_webhook_events_event_key")),
        schema="ops",
        comment="the inbox: every accepted webhook event and what became of it",
    )
    op.create_index(
        "ix_webhook_events_open",
        "webhook_events",
        ["id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("state IN ('received', 'launched', 'waiting')"),
    )
    op.create_index(
        op.f("ix_webhook_events_owner_id_object_id"),
        "webhook_events",
        ["owner_id", "object_id"],
        unique=False,
        schema="ops",
    )
    op.create_table(
        "activities",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the activity"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "resource_state",
            sa.Integer(),
            nullable=False,
            comment="2 the summary is stored, 3 the detail as well",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="title"),
        sa.Column("description", sa.Text(), nullable=True, comment="the athlete's note (detail)"),
        sa.Column("type", sa.Text(), nullable=False, comment="kind of sport, the older and coarser list"),
        sa.Column(
            "sport_type",
            sa.Text(),
            nullable=False,
            comment="kind of sport; where Strava gives none, the same as type",
        ),
        sa.Column(
            "workout_type",
            sa.Integer(),
            nullable=True,
            comment="runs: 1 race, 2 long run, 3 workout; rides: 11 race, 12 workout",
        ),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=False, comment="start (UTC)"),
        sa.Column(
            "start_date_local",
            postgresql.TIMESTAMP(),
            nullable=True,
            comment="start, local wall time at the place of the activity",
        ),
        sa.Column(
            "timezone",
            sa.Text(),
            nullable=True,
            comment="time zone; its GMT part is the standard offset, not the one that held",
        ),
        sa.Column("utc_offset", sa.Double(), nullable=True, comment="local time minus UTC at the start, s"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s; can exceed elapsed_time"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("total_elevation_gain", sa.Double(), nullable=True, comment="metres climbed, m"),
        sa.Column("elev_high", sa.Double(), nullable=True, comment="highest point, m"),
        sa.Column("elev_low", sa.Double(), nullable=True, comment="lowest point, m"),
        sa.Column("average_speed", sa.Double(), nullable=True, comment="distance over moving time, m/s"),
        sa.Column("max_speed", sa.Double(), nullable=True, comment="highest speed, m/s"),
        sa.Column(
            "average_cadence",
            sa.Double(),
            nullable=True,
            comment="mean cadence, rpm (runs: steps of one leg per minute)",
        ),
        sa.Column("average_temp", sa.Double(), nullable=True, comment="mean temperature, degrees Celsius"),
        sa.Column("average_watts", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("weighted_average_watts", sa.Double(), nullable=True, comment="mean power weighted by effort, W"),
        sa.Column("max_watts", sa.Double(), nullable=True, comment="highest power, W"),
        sa.Column("kilojoules", sa.Double(), nullable=True, comment="work, kJ"),
        sa.Column("device_watts", sa.Boolean(), nullable=True, comment="power was measured, not estimated"),
        sa.Column("has_heartrate", sa.Boolean(), nullable=True, comment="a heart rate was recorded"),
        sa.Column("average_heartrate", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.Column("max_heartrate", sa.Double(), nullable=True, comment="highest heart rate, bpm"),
        sa.Column("heartrate_opt_out", sa.Boolean(), nullable=True, comment="the athlete hides the heart rate"),
        sa.Column(
            "display_hide_heartrate_option",
            sa.Boolean(),
            nullable=True,
            comment="Strava offers to hide the heart rate",
        ),
        sa.Column("suffer_score", sa.Double(), nullable=True, comment="Strava's relative effort"),
        sa.Column("calories", sa.Double(), nullable=True, comment="energy, kcal (detail)"),
        sa.Column("perceived_exertion", sa.Double(), nullable=True, comment="effort as felt, 1 to 10 (detail)"),
        sa.Column(
            "prefer_perceived_exertion",
            sa.Boolean(),
            nullable=True,
            comment="effort as felt replaces the heart rate (detail)",
        ),
        sa.Column("achievement_count", sa.Integer(), nullable=True, comment="achievements won"),
        sa.Column("pr_count", sa.Integer(), nullable=True, comment="personal records set"),
        sa.Column("kudos_count", sa.Integer(), nullable=True, comment="kudos received"),
        sa.Column("comment_count", sa.Integer(), nullable=True, comment="comments received"),
        sa.Column("athlete_count", sa.Integer(), nullable=True, comment="athletes who took part"),
        sa.Column("photo_count", sa.Integer(), nullable=True, comment="photos from Instagram"),
        sa.Column("total_photo_count", sa.Integer(), nullable=True, comment="photos in all"),
        sa.Column("has_kudoed", sa.Boolean(), nullable=True, comment="the athlete gave kudos"),
        sa.Column("trainer", sa.Boolean(), nullable=True, comment="on a trainer or treadmill"),
        sa.Column("commute", sa.Boolean(), nullable=True, comment="a commute"),
        sa.Column("manual", sa.Boolean(), nullable=True, comment="entered by hand"),
        sa.Column("private", sa.Boolean(), nullable=True, comment="visible to the athlete only"),
        sa.Column("visibility", sa.Text(), nullable=True, comment="everyone, followers_only or only_me"),
        sa.Column("flagged", sa.Boolean(), nullable=True, comment="flagged by another athlete"),
        sa.Column("hide_from_home", sa.Boolean(), nullable=True, comment="not shown in the home feed (detail)"),
        sa.Column("gear_id", sa.Text(), nullable=True, comment="bike or shoes used"),
        sa.Column(
            "start_latlng",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="latitude and longitude of the start, degrees; empty without GPS",
        ),
        sa.Column(
            "end_latlng",
            postgresql.ARRAY(sa.Double()),
            nullable=True,
            comment="latitude and longitude of the end, degrees; empty without GPS",
        ),
        sa.Column("location_city", sa.Text(), nullable=True, comment="city (old activities)"),
        sa.Column("location_state", sa.Text(), nullable=True, comment="state or region (old activities)"),
        sa.Column("location_country", sa.Text(), nullable=True, comment="country (old activities)"),
        sa.Column("map_id", sa.Text(), nullable=True, comment="Strava's id of the map"),
        sa.Column(
            "summary_polyline",
            sa.Text(),
            nullable=True,
            comment="coarse route, encoded polyline of precision 5; empty without GPS",
        ),
        sa.Column(
            "polyline",
            sa.Text(),
            nullable=True,
            comment="full route, encoded polyline of precision 5 (detail)",
        ),
        sa.Column(
            "upload_id",
            sa.BigInteger(),
            nullable=True,
            comment="Strava's id of the upload; empty when entered by hand",
        ),
        sa.Column("upload_id_str", sa.Text(), nullable=True, comment="the same as text"),
        sa.Column("external_id", sa.Text(), nullable=True, comment="name of the uploaded file"),
        sa.Column("device_name", sa.Text(), nullable=True, comment="device that recorded it (detail)"),
        sa.Column("from_accepted_tag", sa.Boolean(), nullable=True, comment="made from another athlete's activity"),
        sa.Column("embed_token", sa.Text(), nullable=True, comment="token of Strava's embed code (detail)"),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the stored answer was asked for (UTC); an older answer never replaces a newer one",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activities")),
        schema="strava",
        comment="one row per activity",
    )
    op.create_index(
        op.f("ix_activities_athlete_id_start_date"),
        "activities",
        ["athlete_id", "start_date"],
        unique=False,
        schema="strava",
    )
    op.create_table(
        "activity_streams",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column(
            "point_count",
            sa.Integer(),
            nullable=False,
            comment="samples; 0 when Strava has no streams for it",
        ),
        sa.Column("time", postgresql.ARRAY(sa.Integer()), nullable=True, comment="since the start, s"),
        sa.Column("distance", postgresql.ARRAY(sa.Double()), nullable=True, comment="since the start, m"),
        sa.Column("latitude", postgresql.ARRAY(sa.Double()), nullable=True, comment="degrees north"),
        sa.Column("longitude", postgresql.ARRAY(sa.Double()), nullable=True, comment="degrees east"),
        sa.Column("altitude", postgresql.ARRAY(sa.Double()), nullable=True, comment="m above sea level"),
        sa.Column("velocity_smooth", postgresql.ARRAY(sa.Double()), nullable=True, comment="speed, m/s"),
        sa.Column("heartrate", postgresql.ARRAY(sa.Double()), nullable=True, comment="heart rate, bpm"),
        sa.Column("cadence", postgresql.ARRAY(sa.Double()), nullable=True, comment="cadence, rpm"),
        sa.Column("watts", postgresql.ARRAY(sa.Double()), nullable=True, comment="power, W"),
        sa.Column("temp", postgresql.ARRAY(sa.Double()), nullable=True, comment="temperature, degrees Celsius"),
        sa.Column("moving", postgresql.ARRAY(sa.Boolean()), nullable=True, comment="in motion"),
        sa.Column("grade_smooth", postgresql.ARRAY(sa.Double()), nullable=True, comment="grade, percent"),
        sa.Column(
            "other",
            postgresql.JSON(astext_type=sa.Text()),
            nullable=True,
            comment="streams of types not listed here, type -> values",
        ),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the stored answer was asked for (UTC); an older answer never replaces a newer one",
        ),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_activity_streams")),
        schema="strava",
        comment="one row per activity, one array per stream; activity_points gives a row per sample",
    )
    op.create_table(
        "athletes",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the athlete"),
        sa.Column("username", sa.Text(), nullable=True, comment="user name"),
        sa.Column("firstname", sa.Text(), nullable=True, comment="first name"),
        sa.Column("lastname", sa.Text(), nullable=True, comment="last name"),
        sa.Column("bio", sa.Text(), nullable=True, comment="what the athlete says about themselves"),
        sa.Column("city", sa.Text(), nullable=True, comment="city"),
        sa.Column("state", sa.Text(), nullable=True, comment="state or region"),
        sa.Column("country", sa.Text(), nullable=True, comment="country"),
        sa.Column("sex", sa.Text(), nullable=True, comment="M or F, empty when not given"),
        sa.Column("premium", sa.Boolean(), nullable=True, comment="has a subscription (old name of summit)"),
        sa.Column("summit", sa.Boolean(), nullable=True, comment="has a subscription"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the account was created (UTC)",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the profile last changed (UTC)",
        ),
        sa.Column("follower_count", sa.Integer(), nullable=True, comment="number of followers"),
        sa.Column("friend_count", sa.Integer(), nullable=True, comment="number of athletes followed"),
        sa.Column("athlete_type", sa.Integer(), nullable=True, comment="0 cyclist, 1 runner"),
        sa.Column("date_preference", sa.Text(), nullable=True, comment="how the athlete writes dates"),
        sa.Column("measurement_preference", sa.Text(), nullable=True, comment="feet or meters"),
        sa.Column("ftp", sa.Integer(), nullable=True, comment="functional threshold power, W"),
        sa.Column("weight", sa.Double(), nullable=True, comment="body weight, kg"),
        sa.Column("profile", sa.Text(), nullable=True, comment="address of the profile picture"),
        sa.Column("profile_medium", sa.Text(), nullable=True, comment="address of the small profile picture"),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the stored answer was asked for (UTC); an older answer never replaces a newer one",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_athletes")),
        schema="strava",
        comment="one row per connected athlete",
    )
    op.create_table(
        "best_efforts",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the effort"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("name", sa.Text(), nullable=True, comment="name as shown by Strava"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s"),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True, comment="start (UTC)"),
        sa.Column("start_date_local", postgresql.TIMESTAMP(), nullable=True, comment="start, local wall time"),
        sa.Column(
            "start_index",
            sa.Integer(),
            nullable=True,
            comment="index of the first sample in the activity's streams",
        ),
        sa.Column(
            "end_index",
            sa.Integer(),
            nullable=True,
            comment="index of the last sample in the activity's streams",
        ),
        sa.Column(
            "pr_rank",
            sa.Integer(),
            nullable=True,
            comment="1 to 3 when among the athlete's three best at the time",
        ),
        sa.PrimaryKeyConstraint("activity_id", "id", name=op.f("pk_best_efforts")),
        schema="strava",
        comment="one row per standard distance run within an activity (detail)",
    )
    op.create_table(
        "gear",
        sa.Column(
            "id",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id: b... a bike, g... a pair of shoes",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("name", sa.Text(), nullable=True, comment="name given by the athlete or the maker"),
        sa.Column("nickname", sa.Text(), nullable=True, comment="short name"),
        sa.Column(
            "is_primary",
            sa.Boolean(),
            nullable=True,
            comment="the athlete's default (Strava's field primary)",
        ),
        sa.Column("retired", sa.Boolean(), nullable=True, comment="no longer in use"),
        sa.Column("distance", sa.Double(), nullable=True, comment="distance done with it so far, m"),
        sa.Column(
            "converted_distance",
            sa.Double(),
            nullable=True,
            comment="the same in the athlete's unit, km or mi",
        ),
        sa.Column("brand_name", sa.Text(), nullable=True, comment="maker"),
        sa.Column("model_name", sa.Text(), nullable=True, comment="model"),
        sa.Column("frame_type", sa.Integer(), nullable=True, comment="1 mtb, 2 cross, 3 road, 4 time trial"),
        sa.Column("description", sa.Text(), nullable=True, comment="the athlete's note"),
        sa.Column("weight", sa.Double(), nullable=True, comment="weight, kg"),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the stored answer was asked for (UTC); an older answer never replaces a newer one",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gear")),
        schema="strava",
        comment="one row per bike or pair of shoes",
    )
    op.create_index(op.f("ix_gear_athlete_id"), "gear", ["athlete_id"], unique=False, schema="strava")
    op.create_table(
        "laps",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the lap"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("name", sa.Text(), nullable=True, comment="name as shown by Strava"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s"),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True, comment="start (UTC)"),
        sa.Column("start_date_local", postgresql.TIMESTAMP(), nullable=True, comment="start, local wall time"),
        sa.Column(
            "start_index",
            sa.Integer(),
            nullable=True,
            comment="index of the first sample in the activity's streams",
        ),
        sa.Column(
            "end_index",
            sa.Integer(),
            nullable=True,
            comment="index of the last sample in the activity's streams",
        ),
        sa.Column("lap_index", sa.Integer(), nullable=True, comment="number of the lap, from 1"),
        sa.Column("split", sa.Integer(), nullable=True, comment="number of the split the lap belongs to"),
        sa.Column("total_elevation_gain", sa.Double(), nullable=True, comment="metres climbed, m"),
        sa.Column("average_speed", sa.Double(), nullable=True, comment="mean speed, m/s"),
        sa.Column("max_speed", sa.Double(), nullable=True, comment="highest speed, m/s"),
        sa.Column("average_cadence", sa.Double(), nullable=True, comment="mean cadence, rpm"),
        sa.Column("average_watts", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("device_watts", sa.Boolean(), nullable=True, comment="power was measured, not estimated"),
        sa.Column("average_heartrate", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.Column("max_heartrate", sa.Double(), nullable=True, comment="highest heart rate, bpm"),
        sa.Column("pace_zone", sa.Integer(), nullable=True, comment="pace zone, 0 when there is none"),
        sa.PrimaryKeyConstraint("activity_id", "id", name=op.f("pk_laps")),
        schema="strava",
        comment="one row per lap (detail)",
    )
    op.create_table(
        "route_analyses",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("point_count", sa.Integer(), nullable=False, comment="samples the figures come from"),
        sa.Column(
            "distance_m",
            sa.Double(),
            nullable=True,
            comment="length by the recorded distance, or by the positions where there is none, m",
        ),
        sa.Column("elapsed_time_s", sa.Double(), nullable=True, comment="time from the first to the last sample, s"),
        sa.Column("moving_time_s", sa.Double(), nullable=True, comment="time in motion, s"),
        sa.Column("elevation_gain_m", sa.Double(), nullable=True, comment="metres climbed, m"),
        sa.Column("elevation_loss_m", sa.Double(), nullable=True, comment="metres descended, m"),
        sa.Column("average_speed_mps", sa.Double(), nullable=True, comment="distance over moving time, m/s"),
        sa.Column("max_speed_mps", sa.Double(), nullable=True, comment="highest speed, m/s"),
        sa.Column("average_heartrate_bpm", sa.Double(), nullable=True, comment="mean heart rate over time, bpm"),
        sa.Column("max_heartrate_bpm", sa.Double(), nullable=True, comment="highest heart rate, bpm"),
        sa.Column("average_power_w", sa.Double(), nullable=True, comment="mean power over time, W"),
        sa.Column("max_power_w", sa.Double(), nullable=True, comment="highest power, W"),
        sa.Column(
            "streams_fetched_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="which streams the figures come from",
        ),
        sa.Column(
            "analysed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the figures were computed (UTC)",
        ),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_route_analyses")),
        schema="strava",
        comment="one row per activity with streams: figures computed from its samples",
    )
    op.create_table(
        "segment_efforts",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Strava's id of the effort"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("segment_id", sa.BigInteger(), nullable=True, comment="Strava's id of the segment"),
        sa.Column("name", sa.Text(), nullable=True, comment="name as shown by Strava"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s"),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True, comment="start (UTC)"),
        sa.Column("start_date_local", postgresql.TIMESTAMP(), nullable=True, comment="start, local wall time"),
        sa.Column(
            "start_index",
            sa.Integer(),
            nullable=True,
            comment="index of the first sample in the activity's streams",
        ),
        sa.Column(
            "end_index",
            sa.Integer(),
            nullable=True,
            comment="index of the last sample in the activity's streams",
        ),
        sa.Column("average_cadence", sa.Double(), nullable=True, comment="mean cadence, rpm"),
        sa.Column("device_watts", sa.Boolean(), nullable=True, comment="power was measured, not estimated"),
        sa.Column("average_watts", sa.Double(), nullable=True, comment="mean power, W"),
        sa.Column("average_heartrate", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.Column("max_heartrate", sa.Double(), nullable=True, comment="highest heart rate, bpm"),
        sa.Column(
            "pr_rank",
            sa.Integer(),
            nullable=True,
            comment="1 to 3 when among the athlete's three best at the time",
        ),
        sa.Column(
            "kom_rank",
            sa.Integer(),
            nullable=True,
            comment="1 to 10 when among the ten best of all athletes at the time",
        ),
        sa.Column("hidden", sa.Boolean(), nullable=True, comment="hidden on the activity's page"),
        sa.PrimaryKeyConstraint("activity_id", "id", name=op.f("pk_segment_efforts")),
        schema="strava",
        comment="one row per segment ridden or run within an activity (detail)",
    )
    op.create_index(
        op.f("ix_segment_efforts_segment_id"),
        "segment_efforts",
        ["segment_id"],
        unique=False,
        schema="strava",
    )
    op.create_table(
        "splits",
        sa.Column(
            "activity_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Strava's id of the activity",
        ),
        sa.Column(
            "unit",
            sa.Text(),
            autoincrement=False,
            nullable=False,
            comment="metric: per km, standard: per mile",
        ),
        sa.Column("split", sa.Integer(), autoincrement=False, nullable=False, comment="number of the split, from 1"),
        sa.Column("athlete_id", sa.BigInteger(), nullable=False, comment="Strava's id of the athlete"),
        sa.Column("distance", sa.Double(), nullable=True, comment="length, m"),
        sa.Column("elapsed_time", sa.Integer(), nullable=True, comment="time from start to end, s"),
        sa.Column("moving_time", sa.Integer(), nullable=True, comment="time in motion, s"),
        sa.Column(
            "elevation_difference",
            sa.Double(),
            nullable=True,
            comment="height at the end minus height at the start, m",
        ),
        sa.Column("average_speed", sa.Double(), nullable=True, comment="mean speed, m/s"),
        sa.Column(
            "average_grade_adjusted_speed",
            sa.Double(),
            nullable=True,
            comment="mean speed corrected for the grade, m/s",
        ),
        sa.Column("average_heartrate", sa.Double(), nullable=True, comment="mean heart rate, bpm"),
        sa.Column("pace_zone", sa.Integer(), nullable=True, comment="pace zone, 0 when there is none"),
        sa.PrimaryKeyConstraint("activity_id", "unit", "split", name=op.f("pk_splits")),
        schema="strava",
        comment="one row per kilometre and per mile of an activity (detail)",
    )
