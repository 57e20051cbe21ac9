"""The analysts' tables of data from Strava (schema ``strava``).

Strava's fields keep Strava's names and units, which the comments give. Source of the meanings:
https://developers.strava.com/docs/reference/
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, MetaData, Table, Text, true
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from strava_pipeline.warehouse.schema.columns import (
    SERIES,
    activity_key,
    bigint,
    column,
    flag,
    instant,
    integer,
    key,
    number,
    only,
    owner,
    series,
    text,
    wall_time,
)
from strava_pipeline.warehouse.states import StreamSource

SCHEMA = "strava"
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

HIGHEST_HEARTRATE_BPM = 250
# Values that no activity can have.
OUT_OF_RANGE = f"distance < 0 OR elapsed_time < 0 OR moving_time < 0 OR max_heartrate > {HIGHEST_HEARTRATE_BPM}"
TOLD_BY_API = "Strava's API tells of it (at fetched_at); else only an archive or a file does"
FETCHED = "when the stored answer was asked for (UTC); an older answer never replaces a newer one"


def _effort_columns() -> list[Column[Any]]:
    """The columns that laps, best efforts and segment efforts have in common."""
    return [
        text("name", "name as shown by Strava"),
        number("distance", "length, m"),
        integer("elapsed_time", "time from start to end, s"),
        integer("moving_time", "time in motion, s"),
        instant("start_date", "start (UTC)"),
        wall_time("start_date_local", "start, local wall time"),
        integer("start_index", "index of the first sample in the activity's streams"),
        integer("end_index", "index of the last sample in the activity's streams"),
    ]


athletes = Table(
    "athletes",
    metadata,
    key("id", BigInteger, "Strava's id of the athlete"),
    text("username", "user name"),
    text("firstname", "first name"),
    text("lastname", "last name"),
    text("bio", "what the athlete says about themselves"),
    text("city", "city"),
    text("state", "state or region"),
    text("country", "country"),
    text("sex", "M or F, empty when not given"),
    flag("premium", "has a subscription (old name of summit)"),
    flag("summit", "has a subscription"),
    instant("created_at", "when the account was created (UTC)"),
    instant("updated_at", "when the profile last changed (UTC)"),
    integer("follower_count", "number of followers"),
    integer("friend_count", "number of athletes followed"),
    integer("athlete_type", "0 cyclist, 1 runner"),
    text("date_preference", "how the athlete writes dates"),
    text("measurement_preference", "feet or meters"),
    integer("ftp", "functional threshold power, W"),
    number("weight", "body weight, kg"),
    text("profile", "address of the profile picture"),
    text("profile_medium", "address of the small profile picture"),
    instant("fetched_at", FETCHED, required=True),
    schema=SCHEMA,
    comment="one row per connected athlete",
)

gear = Table(
    "gear",
    metadata,
    key("id", Text, "Strava's id: b... a bike, g... a pair of shoes"),
    owner(),
    text("name", "name given by the athlete or the maker"),
    text("nickname", "short name"),
    flag("is_primary", "the athlete's default (Strava's field primary)"),
    flag("retired", "no longer in use"),
    number("distance", "distance done with it so far, m"),
    number("converted_distance", "the same in the athlete's unit, km or mi"),
    text("brand_name", "maker"),
    text("model_name", "model"),
    integer("frame_type", "1 mtb, 2 cross, 3 road, 4 time trial"),
    text("description", "the athlete's note"),
    number("weight", "weight, kg"),
    instant("fetched_at", FETCHED, required=True),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="one row per bike or pair of shoes",
)

athlete_stats = Table(
    "athlete_stats",
    metadata,
    key("athlete_id", BigInteger, "Strava's id of the athlete"),
    key("taken_on", Date, "day of the snapshot (UTC)"),
    key("period", Text, "recent: the last four weeks, ytd: the calendar year so far, all: all time"),
    key("sport", Text, "ride, run or swim"),
    integer("count", "number of activities; Strava counts only those that everyone may see", required=True),
    number("distance", "length, m"),
    integer("moving_time", "time in motion, s"),
    integer("elapsed_time", "time from start to end, s"),
    number("elevation_gain", "metres climbed, m"),
    integer("achievement_count", "achievements won (recent)"),
    number("biggest_ride_distance", "longest ride, m (only beside all rides)"),
    number("biggest_climb_elevation_gain", "highest climb, m (only beside all rides)"),
    instant("fetched_at", FETCHED, required=True),
    schema=SCHEMA,
    comment="Strava's totals of each athlete, one snapshot a day, one row per period and sport",
)

athlete_zones = Table(
    "athlete_zones",
    metadata,
    key("athlete_id", BigInteger, "Strava's id of the athlete"),
    key("kind", Text, "heart_rate or power"),
    key("valid_from", Date, "first day on which Strava was seen to give these zones (UTC); they hold until the next"),
    key("zone", Integer, "number of the zone, from 1"),
    integer("min", "lower end, bpm or W", required=True),
    integer("max", "upper end, bpm or W; empty when open"),
    flag("custom_zones", "set by the athlete, not computed by Strava"),
    instant("fetched_at", FETCHED, required=True),
    schema=SCHEMA,
    comment="zones of heart rate and power, one row per zone, with the day from which they hold",
)

activities = Table(
    "activities",
    metadata,
    key("id", BigInteger, "Strava's id of the activity; negative: of a file that Strava does not know"),
    owner(),
    integer("resource_state", "2 the summary is stored, 3 the detail as well", required=True),
    text("name", "title", required=True),
    text("description", "the athlete's note (detail)"),
    text("type", "kind of sport, the older and coarser list", required=True),
    text("sport_type", "kind of sport; where Strava gives none, the same as type", required=True),
    integer("workout_type", "runs: 1 race, 2 long run, 3 workout; rides: 11 race, 12 workout"),
    instant("start_date", "start (UTC)", required=True),
    wall_time("start_date_local", "start, local wall time there; a start time that Strava hides reads 00:00:01"),
    text("timezone", "time zone; its GMT part is the standard offset, not the one that held"),
    number("utc_offset", "local time minus UTC at the start, s"),
    number("distance", "length, m"),
    integer("moving_time", "time in motion, s; can exceed elapsed_time"),
    integer("elapsed_time", "time from start to end, s"),
    number("total_elevation_gain", "metres climbed, m"),
    number("elev_high", "highest point, m"),
    number("elev_low", "lowest point, m"),
    number("average_speed", "distance over moving time, m/s"),
    number("max_speed", "highest speed, m/s"),
    number("average_cadence", "mean cadence, rpm (runs: steps of one leg per minute)"),
    number("average_temp", "mean temperature, degrees Celsius"),
    number("average_watts", "mean power, W"),
    number("weighted_average_watts", "mean power weighted by effort, W"),
    number("max_watts", "highest power, W"),
    number("kilojoules", "work, kJ"),
    flag("device_watts", "power was measured, not estimated"),
    flag("has_heartrate", "a heart rate was recorded"),
    number("average_heartrate", "mean heart rate, bpm"),
    number("max_heartrate", "highest heart rate, bpm"),
    flag("heartrate_opt_out", "the athlete hides the heart rate"),
    flag("display_hide_heartrate_option", "Strava offers to hide the heart rate"),
    number("suffer_score", "Strava's relative effort"),
    number("calories", "energy, kcal (detail)"),
    number("perceived_exertion", "effort as felt, 1 to 10 (detail)"),
    flag("prefer_perceived_exertion", "effort as felt replaces the heart rate (detail)"),
    integer("achievement_count", "achievements won"),
    integer("pr_count", "personal records set"),
    integer("kudos_count", "kudos received"),
    integer("comment_count", "comments received"),
    integer("athlete_count", "athletes who took part"),
    integer("photo_count", "photos from Instagram"),
    integer("total_photo_count", "photos in all"),
    flag("has_kudoed", "the athlete gave kudos"),
    flag("trainer", "on a trainer or treadmill"),
    flag("commute", "a commute"),
    flag("manual", "entered by hand"),
    flag("private", "visible to the athlete only"),
    text("visibility", "everyone, followers_only or only_me"),
    flag("flagged", "flagged by another athlete"),
    flag("hide_from_home", "not shown in the home feed (detail)"),
    text("gear_id", "bike or shoes used"),
    column("start_latlng", SERIES, "latitude and longitude of the start, degrees; empty without GPS"),
    column("end_latlng", SERIES, "latitude and longitude of the end, degrees; empty without GPS"),
    text("location_city", "city (old activities)"),
    text("location_state", "state or region (old activities)"),
    text("location_country", "country (old activities)"),
    text("map_id", "Strava's id of the map"),
    text("summary_polyline", "coarse route, encoded polyline of precision 5; empty without GPS"),
    text("polyline", "full route, encoded polyline of precision 5 (detail)"),
    bigint("upload_id", "Strava's id of the upload; empty when entered by hand"),
    text("upload_id_str", "the same as text"),
    text("external_id", "name of the uploaded file"),
    text("device_name", "device that recorded it (detail)"),
    flag("from_accepted_tag", "made from another athlete's activity"),
    text("embed_token", "token of Strava's embed code (detail)"),
    Column("told_by_api", Boolean, nullable=False, server_default=true(), comment=TOLD_BY_API),
    instant("archive_taken_at", "until when the newest archive that tells of it does (UTC); empty: none does"),
    instant("file_taken_at", "when a file of it was last handed in (UTC); empty: none was"),
    flag(
        "offset_assumed",
        "local start and utc_offset are those of the nearest activity, or of the zone that the import was told",
    ),
    instant("fetched_at", FETCHED, required=True),
    Index(None, "athlete_id", "start_date"),
    Index(None, "start_date"),
    Index("ix_activities_out_of_range", "start_date", postgresql_where=sql_text(OUT_OF_RANGE)),
    Index(
        "ix_activities_known_offset",
        "athlete_id",
        "start_date",
        postgresql_where=sql_text("offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL"),
    ),
    Index(None, "gear_id"),
    schema=SCHEMA,
    comment="one row per activity",
)

laps = Table(
    "laps",
    metadata,
    activity_key(),
    key("id", BigInteger, "Strava's id of the lap; negative: counted by the device, -1 the first"),
    owner(),
    *_effort_columns(),
    integer("lap_index", "number of the lap, from 1"),
    integer("split", "number of the split the lap belongs to"),
    number("total_elevation_gain", "metres climbed, m"),
    number("average_speed", "mean speed, m/s"),
    number("max_speed", "highest speed, m/s"),
    number("average_cadence", "mean cadence, rpm"),
    number("average_watts", "mean power, W"),
    flag("device_watts", "power was measured, not estimated"),
    number("average_heartrate", "mean heart rate, bpm"),
    number("max_heartrate", "highest heart rate, bpm"),
    integer("pace_zone", "pace zone, 0 when there is none"),
    schema=SCHEMA,
    comment="one row per lap (detail, or a file)",
)

splits = Table(
    "splits",
    metadata,
    activity_key(),
    key("unit", Text, "metric: per km, standard: per mile"),
    key("split", Integer, "number of the split, from 1"),
    owner(),
    number("distance", "length, m"),
    integer("elapsed_time", "time from start to end, s"),
    integer("moving_time", "time in motion, s"),
    number("elevation_difference", "height at the end minus height at the start, m"),
    number("average_speed", "mean speed, m/s"),
    number("average_grade_adjusted_speed", "mean speed corrected for the grade, m/s"),
    number("average_heartrate", "mean heart rate, bpm"),
    integer("pace_zone", "pace zone, 0 when there is none"),
    schema=SCHEMA,
    comment="one row per kilometre and per mile of an activity (detail)",
)

best_efforts = Table(
    "best_efforts",
    metadata,
    activity_key(),
    key("id", BigInteger, "Strava's id of the effort"),
    owner(),
    *_effort_columns(),
    integer("pr_rank", "1 to 3 when among the athlete's three best at the time"),
    Index(None, "athlete_id", "name", "elapsed_time"),
    schema=SCHEMA,
    comment="one row per standard distance run within an activity (detail)",
)

segment_efforts = Table(
    "segment_efforts",
    metadata,
    activity_key(),
    key("id", BigInteger, "Strava's id of the effort"),
    owner(),
    bigint("segment_id", "Strava's id of the segment"),
    *_effort_columns(),
    number("average_cadence", "mean cadence, rpm"),
    flag("device_watts", "power was measured, not estimated"),
    number("average_watts", "mean power, W"),
    number("average_heartrate", "mean heart rate, bpm"),
    number("max_heartrate", "highest heart rate, bpm"),
    integer("pr_rank", "1 to 3 when among the athlete's three best at the time"),
    integer("kom_rank", "1 to 10 when among the ten best of all athletes at the time"),
    flag("hidden", "hidden on the activity's page"),
    Index(None, "segment_id"),
    schema=SCHEMA,
    comment="one row per segment ridden or run within an activity (detail)",
)

segments = Table(
    "segments",
    metadata,
    key("id", BigInteger, "Strava's id of the segment"),
    text("name", "name"),
    text("activity_type", "Ride or Run"),
    number("distance", "length, m"),
    number("average_grade", "mean grade, percent"),
    number("maximum_grade", "steepest grade, percent"),
    number("elevation_high", "highest point, m"),
    number("elevation_low", "lowest point, m"),
    column("start_latlng", SERIES, "latitude and longitude of the start, degrees"),
    column("end_latlng", SERIES, "latitude and longitude of the end, degrees"),
    integer("climb_category", "0 none, 1 the easiest (category 4) to 5 the hardest (hors categorie)"),
    text("city", "city"),
    text("state", "state or region"),
    text("country", "country"),
    flag("private", "visible to its maker only"),
    flag("hazardous", "marked as dangerous"),
    instant("fetched_at", FETCHED, required=True),
    schema=SCHEMA,
    comment="one row per segment that an athlete has ridden or run; the efforts are in segment_efforts",
)

photos = Table(
    "photos",
    metadata,
    activity_key(),
    key("unique_id", Text, "Strava's id of the photo"),
    owner(),
    flag("use_primary_photo", "the athlete chose it as the activity's picture"),
    integer("source", "1 Strava, 2 Instagram"),
    integer("media_type", "1 photo, 2 video"),
    column("urls", JSON, "addresses by width in pixels; Strava may change them at any time"),
    schema=SCHEMA,
    comment="one row per activity with photos: its main photo, the only one of which a detail tells",
)

activity_streams = Table(
    "activity_streams",
    metadata,
    activity_key(),
    owner(),
    integer("point_count", "samples; 0 when Strava has no streams for it", required=True),
    column("time", ARRAY(Integer), "since the start, s"),
    series("distance", "since the start, m"),
    series("latitude", "degrees north"),
    series("longitude", "degrees east"),
    series("altitude", "m above sea level"),
    series("velocity_smooth", "speed, m/s"),
    series("heartrate", "heart rate, bpm"),
    series("cadence", "cadence, rpm"),
    series("watts", "power, W"),
    series("temp", "temperature, degrees Celsius"),
    column("moving", ARRAY(Boolean), "in motion"),
    series("grade_smooth", "grade, percent"),
    column("other", JSON, "streams of types not listed here, type -> values"),
    Column(
        "source", Text, nullable=False, server_default=StreamSource.API, comment="api, or file: made of a recording"
    ),
    bigint("recording_id", "the recording it was made of; empty if it came by the API"),
    column("stream_sources", JSON, "stream -> recorded, computed or filled (missing values); empty if by the API"),
    instant("fetched_at", FETCHED, required=True),
    only("source", StreamSource),
    Index(None, "athlete_id", "point_count"),
    schema=SCHEMA,
    comment="one row per activity, one array per stream; activity_points gives a row per sample",
)
