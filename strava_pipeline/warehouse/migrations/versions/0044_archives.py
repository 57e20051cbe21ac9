"""What people hand in: Strava's archive, and files of devices."""

from __future__ import annotations

from alembic import op

revision = "0044"
down_revision = "0043"

_STATEMENTS = """
CREATE TABLE ops.archive_imports (
    id BIGSERIAL NOT NULL,
    athlete_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    came_by TEXT NOT NULL,
    place TEXT,
    options JSON NOT NULL,
    gear JSON,
    state TEXT NOT NULL,
    report JSON,
    failure TEXT,
    begun_at TIMESTAMP WITH TIME ZONE DEFAULT ops.clock() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    alive_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_archive_imports PRIMARY KEY (id),
    CONSTRAINT ck_archive_imports_kind CHECK (kind IN ('archive', 'files')),
    CONSTRAINT ck_archive_imports_came_by CHECK (came_by IN ('command', 'upload', 'folder')),
    CONSTRAINT ck_archive_imports_state CHECK (state IN ('waiting', 'running', 'done', 'failed', 'undone'))
);
COMMENT ON TABLE ops.archive_imports IS 'what was handed in for an athlete, one row for each archive or lot of files';
COMMENT ON COLUMN ops.archive_imports.id IS 'number of the archive import';
COMMENT ON COLUMN ops.archive_imports.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.archive_imports.kind IS 'archive: an export of Strava''s, files: recordings alone';
COMMENT ON COLUMN ops.archive_imports.name IS 'name of what was handed in, without its folder';
COMMENT ON COLUMN ops.archive_imports.content_hash IS
    'of names and contents, 64 hex digits: the same archive has the same';
COMMENT ON COLUMN ops.archive_imports.taken_at IS 'until when it tells (UTC): the day of the export';
COMMENT ON COLUMN ops.archive_imports.came_by IS 'command, upload or folder';
COMMENT ON COLUMN ops.archive_imports.place IS 'path or address from which a run reads it; empty once it has ended';
COMMENT ON COLUMN ops.archive_imports.options IS
    'what the import was asked to take for granted, such as words of sports';
COMMENT ON COLUMN ops.archive_imports.gear IS
    'bikes and shoes as the archive lists them, by Strava''s id; empty if it lists none';
COMMENT ON COLUMN ops.archive_imports.state IS 'waiting (no run has begun), running, done, failed or undone';
COMMENT ON COLUMN ops.archive_imports.report IS
    'the quality report: what was read, merged, skipped and damaged; empty until it has ended';
COMMENT ON COLUMN ops.archive_imports.failure IS 'why it failed; empty if it did not';
COMMENT ON COLUMN ops.archive_imports.begun_at IS 'when it began (UTC)';
COMMENT ON COLUMN ops.archive_imports.ended_at IS 'when it ended (UTC); empty: it has not';
COMMENT ON COLUMN ops.archive_imports.alive_at IS 'the last sign of life of whoever works on it (UTC)';
CREATE INDEX ix_archive_imports_athlete_id_begun_at ON ops.archive_imports (athlete_id, begun_at);
CREATE UNIQUE INDEX uq_archive_imports_running ON ops.archive_imports (athlete_id) WHERE state = 'running';
CREATE TABLE ops.archive_rows (
    import_id BIGINT NOT NULL,
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    body JSON NOT NULL,
    digest TEXT NOT NULL,
    unknown_word TEXT,
    CONSTRAINT pk_archive_rows PRIMARY KEY (import_id, activity_id)
);
COMMENT ON TABLE ops.archive_rows IS
    'rows of archives as they came; the merged row is derived from the newest one and Strava''s answers';
COMMENT ON COLUMN ops.archive_rows.import_id IS 'number of the archive import';
COMMENT ON COLUMN ops.archive_rows.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN ops.archive_rows.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.archive_rows.body IS 'what the archive''s table tells of it, with the athlete''s private note';
COMMENT ON COLUMN ops.archive_rows.digest IS 'of the body';
COMMENT ON COLUMN ops.archive_rows.unknown_word IS
    'the row''s word for its sport, where nobody knows what it means; else empty';
CREATE INDEX ix_archive_rows_activity_id ON ops.archive_rows (activity_id);
CREATE INDEX ix_archive_rows_athlete_id ON ops.archive_rows (athlete_id);
CREATE INDEX ix_archive_rows_unknown_word ON ops.archive_rows (athlete_id) WHERE unknown_word IS NOT NULL;
CREATE TABLE ops.archive_files (
    import_id BIGINT NOT NULL,
    recording_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    row_id BIGINT,
    activity_id BIGINT,
    doubt TEXT,
    fault TEXT,
    figures JSON,
    CONSTRAINT pk_archive_files PRIMARY KEY (import_id, recording_id, name)
);
COMMENT ON TABLE ops.archive_files IS 'files that were handed in, and the activities that they record';
COMMENT ON COLUMN ops.archive_files.import_id IS 'number of the archive import';
COMMENT ON COLUMN ops.archive_files.recording_id IS 'the first 63 bits of the SHA-256 of the unpacked file';
COMMENT ON COLUMN ops.archive_files.name IS 'name of the file, as its archive or folder has it';
COMMENT ON COLUMN ops.archive_files.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.archive_files.row_id IS 'the activity whose row names the file; empty: no row does';
COMMENT ON COLUMN ops.archive_files.activity_id IS
    'the activity that it was taken for; negative: one of its own; empty: nothing to be read';
COMMENT ON COLUMN ops.archive_files.doubt IS
    'why it was not taken for an activity that is like it; empty: there is no doubt';
COMMENT ON COLUMN ops.archive_files.fault IS 'why nothing of it can be read; empty: something can';
COMMENT ON COLUMN ops.archive_files.figures IS
    'what the file tells of the whole, as Strava would name it; empty if it is not readable';
CREATE INDEX ix_archive_files_activity_id ON ops.archive_files (activity_id);
CREATE INDEX ix_archive_files_athlete_id ON ops.archive_files (athlete_id);
CREATE TABLE ops.recording_bytes (
    athlete_id BIGINT NOT NULL,
    recording_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT pk_recording_bytes PRIMARY KEY (athlete_id, recording_id)
);
COMMENT ON TABLE ops.recording_bytes IS 'recordings as they came, so that their streams can be made again';
COMMENT ON COLUMN ops.recording_bytes.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.recording_bytes.recording_id IS 'the first 63 bits of the SHA-256 of the unpacked file';
COMMENT ON COLUMN ops.recording_bytes.kind IS 'fit, tcx or gpx';
COMMENT ON COLUMN ops.recording_bytes.body IS 'the file, compressed by gzip';
CREATE TABLE strava.recordings (
    activity_id BIGINT NOT NULL,
    recording_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    creator TEXT,
    manufacturer TEXT,
    product TEXT,
    has_barometer BOOLEAN,
    start_date TIMESTAMP WITH TIME ZONE,
    utc_offset INTEGER,
    record_count INTEGER NOT NULL,
    elapsed_s DOUBLE PRECISION,
    timer_s DOUBLE PRECISION,
    distance_m DOUBLE PRECISION,
    ascent_m DOUBLE PRECISION,
    descent_m DOUBLE PRECISION,
    average_temp_c DOUBLE PRECISION,
    pool_length_m DOUBLE PRECISION,
    pauses JSON,
    laps JSON,
    sessions JSON,
    sample_count INTEGER NOT NULL,
    is_cropped BOOLEAN NOT NULL,
    is_used BOOLEAN NOT NULL,
    damage TEXT[] NOT NULL,
    shaped_start TIMESTAMP WITH TIME ZONE,
    shaped_elapsed INTEGER,
    shaped_distance DOUBLE PRECISION,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_recordings PRIMARY KEY (activity_id, recording_id)
);
COMMENT ON TABLE strava.recordings IS
    'one row per file that records an activity: the device, its totals, pauses and laps';
COMMENT ON COLUMN strava.recordings.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.recordings.recording_id IS 'the first 63 bits of the SHA-256 of the unpacked file';
COMMENT ON COLUMN strava.recordings.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.recordings.kind IS 'fit, tcx or gpx';
COMMENT ON COLUMN strava.recordings.creator IS 'device or program that wrote the file, in its own words';
COMMENT ON COLUMN strava.recordings.manufacturer IS 'maker of the device';
COMMENT ON COLUMN strava.recordings.product IS 'model of the device';
COMMENT ON COLUMN strava.recordings.has_barometer IS
    'the device measures air pressure; empty where the file does not tell';
COMMENT ON COLUMN strava.recordings.start_date IS 'first record (UTC); empty where the device''s clock had no date';
COMMENT ON COLUMN strava.recordings.utc_offset IS 'the device''s local time minus UTC, s';
COMMENT ON COLUMN strava.recordings.record_count IS 'records in the file';
COMMENT ON COLUMN strava.recordings.elapsed_s IS 'time from start to end by the device, s';
COMMENT ON COLUMN strava.recordings.timer_s IS 'time by the device''s timer, which pauses stop, s';
COMMENT ON COLUMN strava.recordings.distance_m IS 'length by the device, m';
COMMENT ON COLUMN strava.recordings.ascent_m IS 'metres climbed by the device, m';
COMMENT ON COLUMN strava.recordings.descent_m IS 'metres descended by the device, m';
COMMENT ON COLUMN strava.recordings.average_temp_c IS 'mean temperature by the device, degrees Celsius';
COMMENT ON COLUMN strava.recordings.pool_length_m IS 'length of the pool, m';
COMMENT ON COLUMN strava.recordings.pauses IS 'when the timer stood still: [start, end], s since the activity''s start';
COMMENT ON COLUMN strava.recordings.laps IS 'laps as the device counted them, times in s since the activity''s start';
COMMENT ON COLUMN strava.recordings.sessions IS 'sports of the recording, in order; a triathlon has several';
COMMENT ON COLUMN strava.recordings.sample_count IS 'samples that belong to the activity';
COMMENT ON COLUMN strava.recordings.is_cropped IS 'the file has more than the activity, which was cropped at Strava';
COMMENT ON COLUMN strava.recordings.is_used IS 'the activity''s samples come from this file';
COMMENT ON COLUMN strava.recordings.damage IS 'what is wrong with the file, of which the rest was read';
COMMENT ON COLUMN strava.recordings.shaped_start IS 'start of the activity for which it was read (UTC)';
COMMENT ON COLUMN strava.recordings.shaped_elapsed IS 'length of the activity for which it was read, s';
COMMENT ON COLUMN strava.recordings.shaped_distance IS 'distance of the activity for which it was read, m';
COMMENT ON COLUMN strava.recordings.read_at IS 'when it was read (UTC)';
CREATE INDEX ix_recordings_athlete_id ON strava.recordings (athlete_id);
CREATE TABLE strava.recording_channels (
    activity_id BIGINT NOT NULL,
    recording_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    unit TEXT,
    values DOUBLE PRECISION[] NOT NULL,
    CONSTRAINT pk_recording_channels PRIMARY KEY (activity_id, recording_id, name)
);
COMMENT ON TABLE strava.recording_channels IS
    'series of a file that Strava has no stream for, such as running dynamics';
COMMENT ON COLUMN strava.recording_channels.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.recording_channels.recording_id IS 'the first 63 bits of the SHA-256 of the unpacked file';
COMMENT ON COLUMN strava.recording_channels.name IS 'name of the channel, such as vertical_oscillation';
COMMENT ON COLUMN strava.recording_channels.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.recording_channels.unit IS 'unit of its values; empty where neither file nor profile tells';
COMMENT ON COLUMN strava.recording_channels."values" IS
    'one value per sample of the activity''s streams; of pool_length_...: one per length of the pool';
CREATE INDEX ix_recording_channels_athlete_id ON strava.recording_channels (athlete_id);
CREATE TABLE strava.archive_figures (
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    sport_word TEXT,
    athlete_weight_kg DOUBLE PRECISION,
    bike_weight_kg DOUBLE PRECISION,
    elevation_loss_m DOUBLE PRECISION,
    max_grade_percent DOUBLE PRECISION,
    average_grade_percent DOUBLE PRECISION,
    average_positive_grade_percent DOUBLE PRECISION,
    average_negative_grade_percent DOUBLE PRECISION,
    max_cadence_rpm DOUBLE PRECISION,
    max_temperature_c DOUBLE PRECISION,
    lift_runs INTEGER,
    uphill_time_s DOUBLE PRECISION,
    downhill_time_s DOUBLE PRECISION,
    other_time_s DOUBLE PRECISION,
    type_word TEXT,
    start_time TEXT,
    power_count INTEGER,
    perceived_relative_effort DOUBLE PRECISION,
    total_weight_lifted_kg DOUBLE PRECISION,
    from_upload BOOLEAN,
    grade_adjusted_distance_m DOUBLE PRECISION,
    bike_id TEXT,
    shoe_id TEXT,
    gear_name TEXT,
    jump_count INTEGER,
    total_grit DOUBLE PRECISION,
    average_flow DOUBLE PRECISION,
    flagged_code INTEGER,
    average_elapsed_speed_mps DOUBLE PRECISION,
    dirt_distance_m DOUBLE PRECISION,
    newly_explored_distance_m DOUBLE PRECISION,
    newly_explored_dirt_distance_m DOUBLE PRECISION,
    activity_count TEXT,
    total_steps INTEGER,
    carbon_saved_kg DOUBLE PRECISION,
    pool_length_m DOUBLE PRECISION,
    training_load DOUBLE PRECISION,
    intensity_percent DOUBLE PRECISION,
    average_grade_adjusted_speed_mps DOUBLE PRECISION,
    timer_time_s DOUBLE PRECISION,
    total_cycles INTEGER,
    recovery BOOLEAN,
    with_pet BOOLEAN,
    competition BOOLEAN,
    long_run BOOLEAN,
    for_a_cause BOOLEAN,
    with_kid BOOLEAN,
    downhill_distance_m DOUBLE PRECISION,
    total_sets INTEGER,
    total_reps INTEGER,
    weather_observed_at TIMESTAMP WITH TIME ZONE,
    weather_condition INTEGER,
    weather_temperature_c DOUBLE PRECISION,
    weather_apparent_temperature_c DOUBLE PRECISION,
    weather_dewpoint_c DOUBLE PRECISION,
    weather_humidity DOUBLE PRECISION,
    weather_pressure_hpa DOUBLE PRECISION,
    weather_wind_speed_mps DOUBLE PRECISION,
    weather_wind_gust_mps DOUBLE PRECISION,
    weather_wind_bearing_deg DOUBLE PRECISION,
    weather_precipitation_mm_per_h DOUBLE PRECISION,
    weather_sunrise TIMESTAMP WITH TIME ZONE,
    weather_sunset TIMESTAMP WITH TIME ZONE,
    weather_moon_phase DOUBLE PRECISION,
    weather_precipitation_probability DOUBLE PRECISION,
    weather_precipitation_type INTEGER,
    weather_cloud_cover DOUBLE PRECISION,
    weather_visibility_m DOUBLE PRECISION,
    weather_uv_index DOUBLE PRECISION,
    weather_ozone_du DOUBLE PRECISION,
    unknown JSON,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_archive_figures PRIMARY KEY (activity_id)
);
COMMENT ON TABLE strava.archive_figures IS
    'one row per activity that an archive of Strava''s tells of: what the API does not tell';
COMMENT ON COLUMN strava.archive_figures.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.archive_figures.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.archive_figures.sport_word IS 'kind of sport in the words of the archive''s language';
COMMENT ON COLUMN strava.archive_figures.athlete_weight_kg IS 'weight of the athlete, kg';
COMMENT ON COLUMN strava.archive_figures.bike_weight_kg IS 'weight of the bike, kg';
COMMENT ON COLUMN strava.archive_figures.elevation_loss_m IS 'metres descended, m';
COMMENT ON COLUMN strava.archive_figures.max_grade_percent IS 'steepest grade, percent';
COMMENT ON COLUMN strava.archive_figures.average_grade_percent IS 'mean grade, percent';
COMMENT ON COLUMN strava.archive_figures.average_positive_grade_percent IS 'mean grade uphill, percent';
COMMENT ON COLUMN strava.archive_figures.average_negative_grade_percent IS 'mean grade downhill, percent';
COMMENT ON COLUMN strava.archive_figures.max_cadence_rpm IS 'highest cadence, rpm (runs: steps of one leg per minute)';
COMMENT ON COLUMN strava.archive_figures.max_temperature_c IS 'highest temperature, degrees Celsius';
COMMENT ON COLUMN strava.archive_figures.lift_runs IS 'runs down a slope to which a lift led';
COMMENT ON COLUMN strava.archive_figures.uphill_time_s IS 'time uphill, s';
COMMENT ON COLUMN strava.archive_figures.downhill_time_s IS 'time downhill, s';
COMMENT ON COLUMN strava.archive_figures.other_time_s IS 'time neither uphill nor downhill, s';
COMMENT ON COLUMN strava.archive_figures.type_word IS 'the archive''s column Type, which is blank so far';
COMMENT ON COLUMN strava.archive_figures.start_time IS 'the archive''s column Start Time, which is blank so far';
COMMENT ON COLUMN strava.archive_figures.power_count IS 'samples of power';
COMMENT ON COLUMN strava.archive_figures.perceived_relative_effort IS 'relative effort by the effort as felt';
COMMENT ON COLUMN strava.archive_figures.total_weight_lifted_kg IS 'weight lifted in all, kg';
COMMENT ON COLUMN strava.archive_figures.from_upload IS
    'it came as a file or from Strava''s app; false: entered by hand';
COMMENT ON COLUMN strava.archive_figures.grade_adjusted_distance_m IS 'length on flat ground for the same effort, m';
COMMENT ON COLUMN strava.archive_figures.bike_id IS 'Strava''s id of the bike';
COMMENT ON COLUMN strava.archive_figures.shoe_id IS 'Strava''s id of the shoes';
COMMENT ON COLUMN strava.archive_figures.gear_name IS 'name of the bike or the shoes';
COMMENT ON COLUMN strava.archive_figures.jump_count IS 'jumps';
COMMENT ON COLUMN strava.archive_figures.total_grit IS 'Strava''s grit, a score of mountain bike rides';
COMMENT ON COLUMN strava.archive_figures.average_flow IS 'Strava''s flow, a score of mountain bike rides';
COMMENT ON COLUMN strava.archive_figures.flagged_code IS '0 not flagged, 1 flagged, 2 not documented by Strava';
COMMENT ON COLUMN strava.archive_figures.average_elapsed_speed_mps IS 'distance over elapsed time, m/s';
COMMENT ON COLUMN strava.archive_figures.dirt_distance_m IS 'length on unpaved ways, m';
COMMENT ON COLUMN strava.archive_figures.newly_explored_distance_m IS 'length on ways that were new, m';
COMMENT ON COLUMN strava.archive_figures.newly_explored_dirt_distance_m IS 'length on unpaved ways that were new, m';
COMMENT ON COLUMN strava.archive_figures.activity_count IS
    'the archive''s column Activity Count, which is blank so far';
COMMENT ON COLUMN strava.archive_figures.total_steps IS 'steps';
COMMENT ON COLUMN strava.archive_figures.carbon_saved_kg IS 'carbon dioxide saved, kg';
COMMENT ON COLUMN strava.archive_figures.pool_length_m IS 'length of the pool, m';
COMMENT ON COLUMN strava.archive_figures.training_load IS 'Strava''s training load, a score';
COMMENT ON COLUMN strava.archive_figures.intensity_percent IS 'Strava''s intensity, percent';
COMMENT ON COLUMN strava.archive_figures.average_grade_adjusted_speed_mps IS
    'mean speed on flat ground for the same effort, m/s';
COMMENT ON COLUMN strava.archive_figures.timer_time_s IS 'time by the device''s timer, s';
COMMENT ON COLUMN strava.archive_figures.total_cycles IS 'strokes or pedal turns';
COMMENT ON COLUMN strava.archive_figures.recovery IS 'marked as recovery';
COMMENT ON COLUMN strava.archive_figures.with_pet IS 'marked as done with a pet';
COMMENT ON COLUMN strava.archive_figures.competition IS 'marked as a competition';
COMMENT ON COLUMN strava.archive_figures.long_run IS 'marked as a long run';
COMMENT ON COLUMN strava.archive_figures.for_a_cause IS 'marked as done for a cause';
COMMENT ON COLUMN strava.archive_figures.with_kid IS 'marked as done with a child';
COMMENT ON COLUMN strava.archive_figures.downhill_distance_m IS 'length downhill, m';
COMMENT ON COLUMN strava.archive_figures.total_sets IS 'sets of a workout';
COMMENT ON COLUMN strava.archive_figures.total_reps IS 'repetitions of a workout';
COMMENT ON COLUMN strava.archive_figures.weather_observed_at IS 'when the weather was observed (UTC), up to 64 s off';
COMMENT ON COLUMN strava.archive_figures.weather_condition IS 'code of the weather, 1 to 8';
COMMENT ON COLUMN strava.archive_figures.weather_temperature_c IS 'temperature of the air, degrees Celsius';
COMMENT ON COLUMN strava.archive_figures.weather_apparent_temperature_c IS 'temperature as felt, degrees Celsius';
COMMENT ON COLUMN strava.archive_figures.weather_dewpoint_c IS 'dew point, degrees Celsius';
COMMENT ON COLUMN strava.archive_figures.weather_humidity IS 'humidity, 0 to 1';
COMMENT ON COLUMN strava.archive_figures.weather_pressure_hpa IS 'air pressure, hPa';
COMMENT ON COLUMN strava.archive_figures.weather_wind_speed_mps IS 'wind, m/s';
COMMENT ON COLUMN strava.archive_figures.weather_wind_gust_mps IS 'gusts, m/s';
COMMENT ON COLUMN strava.archive_figures.weather_wind_bearing_deg IS 'where the wind came from, degrees';
COMMENT ON COLUMN strava.archive_figures.weather_precipitation_mm_per_h IS 'precipitation, mm/h';
COMMENT ON COLUMN strava.archive_figures.weather_sunrise IS 'sunrise (UTC), up to 64 s off';
COMMENT ON COLUMN strava.archive_figures.weather_sunset IS 'sunset (UTC), up to 64 s off';
COMMENT ON COLUMN strava.archive_figures.weather_moon_phase IS 'phase of the moon, 0 to 1';
COMMENT ON COLUMN strava.archive_figures.weather_precipitation_probability IS 'probability of precipitation, 0 to 1';
COMMENT ON COLUMN strava.archive_figures.weather_precipitation_type IS 'code of the precipitation';
COMMENT ON COLUMN strava.archive_figures.weather_cloud_cover IS 'clouds, 0 to 1';
COMMENT ON COLUMN strava.archive_figures.weather_visibility_m IS 'how far one saw, m';
COMMENT ON COLUMN strava.archive_figures.weather_uv_index IS 'ultraviolet index';
COMMENT ON COLUMN strava.archive_figures.weather_ozone_du IS 'ozone, Dobson units';
COMMENT ON COLUMN strava.archive_figures.unknown IS 'cells of columns that nobody knows yet, by their header';
COMMENT ON COLUMN strava.archive_figures.taken_at IS 'until when the archive tells (UTC)';
CREATE INDEX ix_archive_figures_athlete_id ON strava.archive_figures (athlete_id);
ALTER TABLE strava.activities ADD COLUMN told_by_api boolean DEFAULT true NOT NULL,
    ADD COLUMN archive_taken_at timestamp with time zone, ADD COLUMN file_taken_at timestamp with time zone,
    ADD COLUMN offset_assumed boolean;
ALTER TABLE strava.activity_streams ADD COLUMN source text DEFAULT 'api' NOT NULL,
    ADD COLUMN recording_id bigint, ADD COLUMN stream_sources json,
    ADD CONSTRAINT ck_activity_streams_source CHECK (source IN ('api', 'file'));
ALTER TABLE ops.users DROP CONSTRAINT ck_users_state;
ALTER TABLE ops.users
    ADD CONSTRAINT ck_users_state CHECK (state IN ('active', 'needs_reauth', 'revoked', 'archive_only'));
COMMENT ON COLUMN strava.activities.id IS 'Strava''s id of the activity; negative: of a file that Strava does not know';
COMMENT ON COLUMN strava.activities.told_by_api IS
    'Strava''s API tells of it (at fetched_at); else only an archive or a file does';
COMMENT ON COLUMN strava.activities.archive_taken_at IS
    'until when the newest archive that tells of it does (UTC); empty: none does';
COMMENT ON COLUMN strava.activities.file_taken_at IS 'when a file of it was last handed in (UTC); empty: none was';
COMMENT ON COLUMN strava.activities.offset_assumed IS
    'local start and utc_offset are those of the nearest activity, or of the zone that the import was told';
COMMENT ON COLUMN strava.activity_streams.source IS 'api, or file: made of a recording';
COMMENT ON COLUMN strava.activity_streams.recording_id IS 'the recording it was made of; empty if it came by the API';
COMMENT ON COLUMN strava.activity_streams.stream_sources IS
    'stream -> recorded, computed or filled (missing values); empty if by the API';
COMMENT ON COLUMN ops.users.state IS 'active, needs_reauth, revoked or archive_only (never connected: handed in)';
COMMENT ON COLUMN strava.laps.id IS 'Strava''s id of the lap; negative: counted by the device, -1 the first';
COMMENT ON TABLE strava.laps IS 'one row per lap (detail, or a file)';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
