CREATE SCHEMA IF NOT EXISTS ops;
CREATE SCHEMA IF NOT EXISTS strava;

CREATE SEQUENCE ops.webhook_claims;

CREATE TABLE strava.athletes (
    id BIGINT NOT NULL,
    username TEXT,
    firstname TEXT,
    lastname TEXT,
    bio TEXT,
    city TEXT,
    state TEXT,
    country TEXT,
    sex TEXT,
    premium BOOLEAN,
    summit BOOLEAN,
    created_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE,
    follower_count INTEGER,
    friend_count INTEGER,
    athlete_type INTEGER,
    date_preference TEXT,
    measurement_preference TEXT,
    ftp INTEGER,
    weight DOUBLE PRECISION,
    profile TEXT,
    profile_medium TEXT,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_athletes PRIMARY KEY (id)
);
COMMENT ON TABLE strava.athletes IS 'one row per connected athlete';
COMMENT ON COLUMN strava.athletes.id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.athletes.username IS 'user name';
COMMENT ON COLUMN strava.athletes.firstname IS 'first name';
COMMENT ON COLUMN strava.athletes.lastname IS 'last name';
COMMENT ON COLUMN strava.athletes.bio IS 'what the athlete says about themselves';
COMMENT ON COLUMN strava.athletes.city IS 'city';
COMMENT ON COLUMN strava.athletes.state IS 'state or region';
COMMENT ON COLUMN strava.athletes.country IS 'country';
COMMENT ON COLUMN strava.athletes.sex IS 'M or F, empty when not given';
COMMENT ON COLUMN strava.athletes.premium IS 'has a subscription (old name of summit)';
COMMENT ON COLUMN strava.athletes.summit IS 'has a subscription';
COMMENT ON COLUMN strava.athletes.created_at IS 'when the account was created (UTC)';
COMMENT ON COLUMN strava.athletes.updated_at IS 'when the profile last changed (UTC)';
COMMENT ON COLUMN strava.athletes.follower_count IS 'number of followers';
COMMENT ON COLUMN strava.athletes.friend_count IS 'number of athletes followed';
COMMENT ON COLUMN strava.athletes.athlete_type IS '0 cyclist, 1 runner';
COMMENT ON COLUMN strava.athletes.date_preference IS 'how the athlete writes dates';
COMMENT ON COLUMN strava.athletes.measurement_preference IS 'feet or meters';
COMMENT ON COLUMN strava.athletes.ftp IS 'functional threshold power, W';
COMMENT ON COLUMN strava.athletes.weight IS 'body weight, kg';
COMMENT ON COLUMN strava.athletes.profile IS 'address of the profile picture';
COMMENT ON COLUMN strava.athletes.profile_medium IS 'address of the small profile picture';
COMMENT ON COLUMN strava.athletes.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.gear (
    id TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    name TEXT,
    nickname TEXT,
    is_primary BOOLEAN,
    retired BOOLEAN,
    distance DOUBLE PRECISION,
    converted_distance DOUBLE PRECISION,
    brand_name TEXT,
    model_name TEXT,
    frame_type INTEGER,
    description TEXT,
    weight DOUBLE PRECISION,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_gear PRIMARY KEY (id)
);
CREATE INDEX ix_gear_athlete_id ON strava.gear (athlete_id);
COMMENT ON TABLE strava.gear IS 'one row per bike or pair of shoes';
COMMENT ON COLUMN strava.gear.id IS 'Strava''s id: b... a bike, g... a pair of shoes';
COMMENT ON COLUMN strava.gear.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.gear.name IS 'name given by the athlete or the maker';
COMMENT ON COLUMN strava.gear.nickname IS 'short name';
COMMENT ON COLUMN strava.gear.is_primary IS 'the athlete''s default (Strava''s field primary)';
COMMENT ON COLUMN strava.gear.retired IS 'no longer in use';
COMMENT ON COLUMN strava.gear.distance IS 'distance done with it so far, m';
COMMENT ON COLUMN strava.gear.converted_distance IS 'the same in the athlete''s unit, km or mi';
COMMENT ON COLUMN strava.gear.brand_name IS 'maker';
COMMENT ON COLUMN strava.gear.model_name IS 'model';
COMMENT ON COLUMN strava.gear.frame_type IS '1 mtb, 2 cross, 3 road, 4 time trial';
COMMENT ON COLUMN strava.gear.description IS 'the athlete''s note';
COMMENT ON COLUMN strava.gear.weight IS 'weight, kg';
COMMENT ON COLUMN strava.gear.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.athlete_stats (
    athlete_id BIGINT NOT NULL,
    taken_on DATE NOT NULL,
    period TEXT NOT NULL,
    sport TEXT NOT NULL,
    count INTEGER NOT NULL,
    distance DOUBLE PRECISION,
    moving_time INTEGER,
    elapsed_time INTEGER,
    elevation_gain DOUBLE PRECISION,
    achievement_count INTEGER,
    biggest_ride_distance DOUBLE PRECISION,
    biggest_climb_elevation_gain DOUBLE PRECISION,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_athlete_stats PRIMARY KEY (athlete_id, taken_on, period, sport)
);
COMMENT ON TABLE strava.athlete_stats IS 'Strava''s totals of each athlete, one snapshot a day, one row per period and sport';
COMMENT ON COLUMN strava.athlete_stats.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.athlete_stats.taken_on IS 'day of the snapshot (UTC)';
COMMENT ON COLUMN strava.athlete_stats.period IS 'recent: the last four weeks, ytd: the calendar year so far, all: all time';
COMMENT ON COLUMN strava.athlete_stats.sport IS 'ride, run or swim';
COMMENT ON COLUMN strava.athlete_stats.count IS 'number of activities; Strava counts only those that everyone may see';
COMMENT ON COLUMN strava.athlete_stats.distance IS 'length, m';
COMMENT ON COLUMN strava.athlete_stats.moving_time IS 'time in motion, s';
COMMENT ON COLUMN strava.athlete_stats.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.athlete_stats.elevation_gain IS 'metres climbed, m';
COMMENT ON COLUMN strava.athlete_stats.achievement_count IS 'achievements won (recent)';
COMMENT ON COLUMN strava.athlete_stats.biggest_ride_distance IS 'longest ride, m (only beside all rides)';
COMMENT ON COLUMN strava.athlete_stats.biggest_climb_elevation_gain IS 'highest climb, m (only beside all rides)';
COMMENT ON COLUMN strava.athlete_stats.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.athlete_zones (
    athlete_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    valid_from DATE NOT NULL,
    zone INTEGER NOT NULL,
    min INTEGER NOT NULL,
    max INTEGER,
    custom_zones BOOLEAN,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_athlete_zones PRIMARY KEY (athlete_id, kind, valid_from, zone)
);
COMMENT ON TABLE strava.athlete_zones IS 'zones of heart rate and power, one row per zone, with the day from which they hold';
COMMENT ON COLUMN strava.athlete_zones.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.athlete_zones.kind IS 'heart_rate or power';
COMMENT ON COLUMN strava.athlete_zones.valid_from IS 'first day on which Strava was seen to give these zones (UTC); they hold until the next';
COMMENT ON COLUMN strava.athlete_zones.zone IS 'number of the zone, from 1';
COMMENT ON COLUMN strava.athlete_zones.min IS 'lower end, bpm or W';
COMMENT ON COLUMN strava.athlete_zones.max IS 'upper end, bpm or W; empty when open';
COMMENT ON COLUMN strava.athlete_zones.custom_zones IS 'set by the athlete, not computed by Strava';
COMMENT ON COLUMN strava.athlete_zones.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.activities (
    id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    resource_state INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL,
    sport_type TEXT NOT NULL,
    workout_type INTEGER,
    start_date TIMESTAMP WITH TIME ZONE NOT NULL,
    start_date_local TIMESTAMP WITHOUT TIME ZONE,
    timezone TEXT,
    utc_offset DOUBLE PRECISION,
    distance DOUBLE PRECISION,
    moving_time INTEGER,
    elapsed_time INTEGER,
    total_elevation_gain DOUBLE PRECISION,
    elev_high DOUBLE PRECISION,
    elev_low DOUBLE PRECISION,
    average_speed DOUBLE PRECISION,
    max_speed DOUBLE PRECISION,
    average_cadence DOUBLE PRECISION,
    average_temp DOUBLE PRECISION,
    average_watts DOUBLE PRECISION,
    weighted_average_watts DOUBLE PRECISION,
    max_watts DOUBLE PRECISION,
    kilojoules DOUBLE PRECISION,
    device_watts BOOLEAN,
    has_heartrate BOOLEAN,
    average_heartrate DOUBLE PRECISION,
    max_heartrate DOUBLE PRECISION,
    heartrate_opt_out BOOLEAN,
    display_hide_heartrate_option BOOLEAN,
    suffer_score DOUBLE PRECISION,
    calories DOUBLE PRECISION,
    perceived_exertion DOUBLE PRECISION,
    prefer_perceived_exertion BOOLEAN,
    achievement_count INTEGER,
    pr_count INTEGER,
    kudos_count INTEGER,
    comment_count INTEGER,
    athlete_count INTEGER,
    photo_count INTEGER,
    total_photo_count INTEGER,
    has_kudoed BOOLEAN,
    trainer BOOLEAN,
    commute BOOLEAN,
    manual BOOLEAN,
    private BOOLEAN,
    visibility TEXT,
    flagged BOOLEAN,
    hide_from_home BOOLEAN,
    gear_id TEXT,
    start_latlng DOUBLE PRECISION[],
    end_latlng DOUBLE PRECISION[],
    location_city TEXT,
    location_state TEXT,
    location_country TEXT,
    map_id TEXT,
    summary_polyline TEXT,
    polyline TEXT,
    upload_id BIGINT,
    upload_id_str TEXT,
    external_id TEXT,
    device_name TEXT,
    from_accepted_tag BOOLEAN,
    embed_token TEXT,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_activities PRIMARY KEY (id)
);
CREATE INDEX ix_activities_athlete_id_start_date ON strava.activities (athlete_id, start_date);
CREATE INDEX ix_activities_gear_id ON strava.activities (gear_id);
COMMENT ON TABLE strava.activities IS 'one row per activity';
COMMENT ON COLUMN strava.activities.id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.activities.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.activities.resource_state IS '2 the summary is stored, 3 the detail as well';
COMMENT ON COLUMN strava.activities.name IS 'title';
COMMENT ON COLUMN strava.activities.description IS 'the athlete''s note (detail)';
COMMENT ON COLUMN strava.activities.type IS 'kind of sport, the older and coarser list';
COMMENT ON COLUMN strava.activities.sport_type IS 'kind of sport; where Strava gives none, the same as type';
COMMENT ON COLUMN strava.activities.workout_type IS 'runs: 1 race, 2 long run, 3 workout; rides: 11 race, 12 workout';
COMMENT ON COLUMN strava.activities.start_date IS 'start (UTC)';
COMMENT ON COLUMN strava.activities.start_date_local IS 'start, local wall time there; a start time that Strava hides reads 00:00:01';
COMMENT ON COLUMN strava.activities.timezone IS 'time zone; its GMT part is the standard offset, not the one that held';
COMMENT ON COLUMN strava.activities.utc_offset IS 'local time minus UTC at the start, s';
COMMENT ON COLUMN strava.activities.distance IS 'length, m';
COMMENT ON COLUMN strava.activities.moving_time IS 'time in motion, s; can exceed elapsed_time';
COMMENT ON COLUMN strava.activities.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.activities.total_elevation_gain IS 'metres climbed, m';
COMMENT ON COLUMN strava.activities.elev_high IS 'highest point, m';
COMMENT ON COLUMN strava.activities.elev_low IS 'lowest point, m';
COMMENT ON COLUMN strava.activities.average_speed IS 'distance over moving time, m/s';
COMMENT ON COLUMN strava.activities.max_speed IS 'highest speed, m/s';
COMMENT ON COLUMN strava.activities.average_cadence IS 'mean cadence, rpm (runs: steps of one leg per minute)';
COMMENT ON COLUMN strava.activities.average_temp IS 'mean temperature, degrees Celsius';
COMMENT ON COLUMN strava.activities.average_watts IS 'mean power, W';
COMMENT ON COLUMN strava.activities.weighted_average_watts IS 'mean power weighted by effort, W';
COMMENT ON COLUMN strava.activities.max_watts IS 'highest power, W';
COMMENT ON COLUMN strava.activities.kilojoules IS 'work, kJ';
COMMENT ON COLUMN strava.activities.device_watts IS 'power was measured, not estimated';
COMMENT ON COLUMN strava.activities.has_heartrate IS 'a heart rate was recorded';
COMMENT ON COLUMN strava.activities.average_heartrate IS 'mean heart rate, bpm';
COMMENT ON COLUMN strava.activities.max_heartrate IS 'highest heart rate, bpm';
COMMENT ON COLUMN strava.activities.heartrate_opt_out IS 'the athlete hides the heart rate';
COMMENT ON COLUMN strava.activities.display_hide_heartrate_option IS 'Strava offers to hide the heart rate';
COMMENT ON COLUMN strava.activities.suffer_score IS 'Strava''s relative effort';
COMMENT ON COLUMN strava.activities.calories IS 'energy, kcal (detail)';
COMMENT ON COLUMN strava.activities.perceived_exertion IS 'effort as felt, 1 to 10 (detail)';
COMMENT ON COLUMN strava.activities.prefer_perceived_exertion IS 'effort as felt replaces the heart rate (detail)';
COMMENT ON COLUMN strava.activities.achievement_count IS 'achievements won';
COMMENT ON COLUMN strava.activities.pr_count IS 'personal records set';
COMMENT ON COLUMN strava.activities.kudos_count IS 'kudos received';
COMMENT ON COLUMN strava.activities.comment_count IS 'comments received';
COMMENT ON COLUMN strava.activities.athlete_count IS 'athletes who took part';
COMMENT ON COLUMN strava.activities.photo_count IS 'photos from Instagram';
COMMENT ON COLUMN strava.activities.total_photo_count IS 'photos in all';
COMMENT ON COLUMN strava.activities.has_kudoed IS 'the athlete gave kudos';
COMMENT ON COLUMN strava.activities.trainer IS 'on a trainer or treadmill';
COMMENT ON COLUMN strava.activities.commute IS 'a commute';
COMMENT ON COLUMN strava.activities.manual IS 'entered by hand';
COMMENT ON COLUMN strava.activities.private IS 'visible to the athlete only';
COMMENT ON COLUMN strava.activities.visibility IS 'everyone, followers_only or only_me';
COMMENT ON COLUMN strava.activities.flagged IS 'flagged by another athlete';
COMMENT ON COLUMN strava.activities.hide_from_home IS 'not shown in the home feed (detail)';
COMMENT ON COLUMN strava.activities.gear_id IS 'bike or shoes used';
COMMENT ON COLUMN strava.activities.start_latlng IS 'latitude and longitude of the start, degrees; empty without GPS';
COMMENT ON COLUMN strava.activities.end_latlng IS 'latitude and longitude of the end, degrees; empty without GPS';
COMMENT ON COLUMN strava.activities.location_city IS 'city (old activities)';
COMMENT ON COLUMN strava.activities.location_state IS 'state or region (old activities)';
COMMENT ON COLUMN strava.activities.location_country IS 'country (old activities)';
COMMENT ON COLUMN strava.activities.map_id IS 'Strava''s id of the map';
COMMENT ON COLUMN strava.activities.summary_polyline IS 'coarse route, encoded polyline of precision 5; empty without GPS';
COMMENT ON COLUMN strava.activities.polyline IS 'full route, encoded polyline of precision 5 (detail)';
COMMENT ON COLUMN strava.activities.upload_id IS 'Strava''s id of the upload; empty when entered by hand';
COMMENT ON COLUMN strava.activities.upload_id_str IS 'the same as text';
COMMENT ON COLUMN strava.activities.external_id IS 'name of the uploaded file';
COMMENT ON COLUMN strava.activities.device_name IS 'device that recorded it (detail)';
COMMENT ON COLUMN strava.activities.from_accepted_tag IS 'made from another athlete''s activity';
COMMENT ON COLUMN strava.activities.embed_token IS 'token of Strava''s embed code (detail)';
COMMENT ON COLUMN strava.activities.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.laps (
    activity_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    name TEXT,
    distance DOUBLE PRECISION,
    elapsed_time INTEGER,
    moving_time INTEGER,
    start_date TIMESTAMP WITH TIME ZONE,
    start_date_local TIMESTAMP WITHOUT TIME ZONE,
    start_index INTEGER,
    end_index INTEGER,
    lap_index INTEGER,
    split INTEGER,
    total_elevation_gain DOUBLE PRECISION,
    average_speed DOUBLE PRECISION,
    max_speed DOUBLE PRECISION,
    average_cadence DOUBLE PRECISION,
    average_watts DOUBLE PRECISION,
    device_watts BOOLEAN,
    average_heartrate DOUBLE PRECISION,
    max_heartrate DOUBLE PRECISION,
    pace_zone INTEGER,
    CONSTRAINT pk_laps PRIMARY KEY (activity_id, id)
);
COMMENT ON TABLE strava.laps IS 'one row per lap (detail)';
COMMENT ON COLUMN strava.laps.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.laps.id IS 'Strava''s id of the lap';
COMMENT ON COLUMN strava.laps.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.laps.name IS 'name as shown by Strava';
COMMENT ON COLUMN strava.laps.distance IS 'length, m';
COMMENT ON COLUMN strava.laps.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.laps.moving_time IS 'time in motion, s';
COMMENT ON COLUMN strava.laps.start_date IS 'start (UTC)';
COMMENT ON COLUMN strava.laps.start_date_local IS 'start, local wall time';
COMMENT ON COLUMN strava.laps.start_index IS 'index of the first sample in the activity''s streams';
COMMENT ON COLUMN strava.laps.end_index IS 'index of the last sample in the activity''s streams';
COMMENT ON COLUMN strava.laps.lap_index IS 'number of the lap, from 1';
COMMENT ON COLUMN strava.laps.split IS 'number of the split the lap belongs to';
COMMENT ON COLUMN strava.laps.total_elevation_gain IS 'metres climbed, m';
COMMENT ON COLUMN strava.laps.average_speed IS 'mean speed, m/s';
COMMENT ON COLUMN strava.laps.max_speed IS 'highest speed, m/s';
COMMENT ON COLUMN strava.laps.average_cadence IS 'mean cadence, rpm';
COMMENT ON COLUMN strava.laps.average_watts IS 'mean power, W';
COMMENT ON COLUMN strava.laps.device_watts IS 'power was measured, not estimated';
COMMENT ON COLUMN strava.laps.average_heartrate IS 'mean heart rate, bpm';
COMMENT ON COLUMN strava.laps.max_heartrate IS 'highest heart rate, bpm';
COMMENT ON COLUMN strava.laps.pace_zone IS 'pace zone, 0 when there is none';

CREATE TABLE strava.splits (
    activity_id BIGINT NOT NULL,
    unit TEXT NOT NULL,
    split INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    distance DOUBLE PRECISION,
    elapsed_time INTEGER,
    moving_time INTEGER,
    elevation_difference DOUBLE PRECISION,
    average_speed DOUBLE PRECISION,
    average_grade_adjusted_speed DOUBLE PRECISION,
    average_heartrate DOUBLE PRECISION,
    pace_zone INTEGER,
    CONSTRAINT pk_splits PRIMARY KEY (activity_id, unit, split)
);
COMMENT ON TABLE strava.splits IS 'one row per kilometre and per mile of an activity (detail)';
COMMENT ON COLUMN strava.splits.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.splits.unit IS 'metric: per km, standard: per mile';
COMMENT ON COLUMN strava.splits.split IS 'number of the split, from 1';
COMMENT ON COLUMN strava.splits.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.splits.distance IS 'length, m';
COMMENT ON COLUMN strava.splits.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.splits.moving_time IS 'time in motion, s';
COMMENT ON COLUMN strava.splits.elevation_difference IS 'height at the end minus height at the start, m';
COMMENT ON COLUMN strava.splits.average_speed IS 'mean speed, m/s';
COMMENT ON COLUMN strava.splits.average_grade_adjusted_speed IS 'mean speed corrected for the grade, m/s';
COMMENT ON COLUMN strava.splits.average_heartrate IS 'mean heart rate, bpm';
COMMENT ON COLUMN strava.splits.pace_zone IS 'pace zone, 0 when there is none';

CREATE TABLE strava.best_efforts (
    activity_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    name TEXT,
    distance DOUBLE PRECISION,
    elapsed_time INTEGER,
    moving_time INTEGER,
    start_date TIMESTAMP WITH TIME ZONE,
    start_date_local TIMESTAMP WITHOUT TIME ZONE,
    start_index INTEGER,
    end_index INTEGER,
    pr_rank INTEGER,
    CONSTRAINT pk_best_efforts PRIMARY KEY (activity_id, id)
);
CREATE INDEX ix_best_efforts_athlete_id_name_elapsed_time ON strava.best_efforts (athlete_id, name, elapsed_time);
COMMENT ON TABLE strava.best_efforts IS 'one row per standard distance run within an activity (detail)';
COMMENT ON COLUMN strava.best_efforts.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.best_efforts.id IS 'Strava''s id of the effort';
COMMENT ON COLUMN strava.best_efforts.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.best_efforts.name IS 'name as shown by Strava';
COMMENT ON COLUMN strava.best_efforts.distance IS 'length, m';
COMMENT ON COLUMN strava.best_efforts.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.best_efforts.moving_time IS 'time in motion, s';
COMMENT ON COLUMN strava.best_efforts.start_date IS 'start (UTC)';
COMMENT ON COLUMN strava.best_efforts.start_date_local IS 'start, local wall time';
COMMENT ON COLUMN strava.best_efforts.start_index IS 'index of the first sample in the activity''s streams';
COMMENT ON COLUMN strava.best_efforts.end_index IS 'index of the last sample in the activity''s streams';
COMMENT ON COLUMN strava.best_efforts.pr_rank IS '1 to 3 when among the athlete''s three best at the time';

CREATE TABLE strava.segment_efforts (
    activity_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    segment_id BIGINT,
    name TEXT,
    distance DOUBLE PRECISION,
    elapsed_time INTEGER,
    moving_time INTEGER,
    start_date TIMESTAMP WITH TIME ZONE,
    start_date_local TIMESTAMP WITHOUT TIME ZONE,
    start_index INTEGER,
    end_index INTEGER,
    average_cadence DOUBLE PRECISION,
    device_watts BOOLEAN,
    average_watts DOUBLE PRECISION,
    average_heartrate DOUBLE PRECISION,
    max_heartrate DOUBLE PRECISION,
    pr_rank INTEGER,
    kom_rank INTEGER,
    hidden BOOLEAN,
    CONSTRAINT pk_segment_efforts PRIMARY KEY (activity_id, id)
);
CREATE INDEX ix_segment_efforts_segment_id ON strava.segment_efforts (segment_id);
COMMENT ON TABLE strava.segment_efforts IS 'one row per segment ridden or run within an activity (detail)';
COMMENT ON COLUMN strava.segment_efforts.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.segment_efforts.id IS 'Strava''s id of the effort';
COMMENT ON COLUMN strava.segment_efforts.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.segment_efforts.segment_id IS 'Strava''s id of the segment';
COMMENT ON COLUMN strava.segment_efforts.name IS 'name as shown by Strava';
COMMENT ON COLUMN strava.segment_efforts.distance IS 'length, m';
COMMENT ON COLUMN strava.segment_efforts.elapsed_time IS 'time from start to end, s';
COMMENT ON COLUMN strava.segment_efforts.moving_time IS 'time in motion, s';
COMMENT ON COLUMN strava.segment_efforts.start_date IS 'start (UTC)';
COMMENT ON COLUMN strava.segment_efforts.start_date_local IS 'start, local wall time';
COMMENT ON COLUMN strava.segment_efforts.start_index IS 'index of the first sample in the activity''s streams';
COMMENT ON COLUMN strava.segment_efforts.end_index IS 'index of the last sample in the activity''s streams';
COMMENT ON COLUMN strava.segment_efforts.average_cadence IS 'mean cadence, rpm';
COMMENT ON COLUMN strava.segment_efforts.device_watts IS 'power was measured, not estimated';
COMMENT ON COLUMN strava.segment_efforts.average_watts IS 'mean power, W';
COMMENT ON COLUMN strava.segment_efforts.average_heartrate IS 'mean heart rate, bpm';
COMMENT ON COLUMN strava.segment_efforts.max_heartrate IS 'highest heart rate, bpm';
COMMENT ON COLUMN strava.segment_efforts.pr_rank IS '1 to 3 when among the athlete''s three best at the time';
COMMENT ON COLUMN strava.segment_efforts.kom_rank IS '1 to 10 when among the ten best of all athletes at the time';
COMMENT ON COLUMN strava.segment_efforts.hidden IS 'hidden on the activity''s page';

CREATE TABLE strava.segments (
    id BIGINT NOT NULL,
    name TEXT,
    activity_type TEXT,
    distance DOUBLE PRECISION,
    average_grade DOUBLE PRECISION,
    maximum_grade DOUBLE PRECISION,
    elevation_high DOUBLE PRECISION,
    elevation_low DOUBLE PRECISION,
    start_latlng DOUBLE PRECISION[],
    end_latlng DOUBLE PRECISION[],
    climb_category INTEGER,
    city TEXT,
    state TEXT,
    country TEXT,
    private BOOLEAN,
    hazardous BOOLEAN,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_segments PRIMARY KEY (id)
);
COMMENT ON TABLE strava.segments IS 'one row per segment that an athlete has ridden or run; the efforts are in segment_efforts';
COMMENT ON COLUMN strava.segments.id IS 'Strava''s id of the segment';
COMMENT ON COLUMN strava.segments.name IS 'name';
COMMENT ON COLUMN strava.segments.activity_type IS 'Ride or Run';
COMMENT ON COLUMN strava.segments.distance IS 'length, m';
COMMENT ON COLUMN strava.segments.average_grade IS 'mean grade, percent';
COMMENT ON COLUMN strava.segments.maximum_grade IS 'steepest grade, percent';
COMMENT ON COLUMN strava.segments.elevation_high IS 'highest point, m';
COMMENT ON COLUMN strava.segments.elevation_low IS 'lowest point, m';
COMMENT ON COLUMN strava.segments.start_latlng IS 'latitude and longitude of the start, degrees';
COMMENT ON COLUMN strava.segments.end_latlng IS 'latitude and longitude of the end, degrees';
COMMENT ON COLUMN strava.segments.climb_category IS '0 none, 1 the easiest (category 4) to 5 the hardest (hors categorie)';
COMMENT ON COLUMN strava.segments.city IS 'city';
COMMENT ON COLUMN strava.segments.state IS 'state or region';
COMMENT ON COLUMN strava.segments.country IS 'country';
COMMENT ON COLUMN strava.segments.private IS 'visible to its maker only';
COMMENT ON COLUMN strava.segments.hazardous IS 'marked as dangerous';
COMMENT ON COLUMN strava.segments.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.photos (
    activity_id BIGINT NOT NULL,
    unique_id TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    use_primary_photo BOOLEAN,
    source INTEGER,
    media_type INTEGER,
    urls JSON,
    CONSTRAINT pk_photos PRIMARY KEY (activity_id, unique_id)
);
COMMENT ON TABLE strava.photos IS 'one row per activity with photos: its main photo, the only one of which a detail tells';
COMMENT ON COLUMN strava.photos.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.photos.unique_id IS 'Strava''s id of the photo';
COMMENT ON COLUMN strava.photos.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.photos.use_primary_photo IS 'the athlete chose it as the activity''s picture';
COMMENT ON COLUMN strava.photos.source IS '1 Strava, 2 Instagram';
COMMENT ON COLUMN strava.photos.media_type IS '1 photo, 2 video';
COMMENT ON COLUMN strava.photos.urls IS 'addresses by width in pixels; Strava may change them at any time';

CREATE TABLE strava.activity_streams (
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    point_count INTEGER NOT NULL,
    time INTEGER[],
    distance DOUBLE PRECISION[],
    latitude DOUBLE PRECISION[],
    longitude DOUBLE PRECISION[],
    altitude DOUBLE PRECISION[],
    velocity_smooth DOUBLE PRECISION[],
    heartrate DOUBLE PRECISION[],
    cadence DOUBLE PRECISION[],
    watts DOUBLE PRECISION[],
    temp DOUBLE PRECISION[],
    moving BOOLEAN[],
    grade_smooth DOUBLE PRECISION[],
    other JSON,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_activity_streams PRIMARY KEY (activity_id)
);
COMMENT ON TABLE strava.activity_streams IS 'one row per activity, one array per stream; activity_points gives a row per sample';
COMMENT ON COLUMN strava.activity_streams.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.activity_streams.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.activity_streams.point_count IS 'samples; 0 when Strava has no streams for it';
COMMENT ON COLUMN strava.activity_streams.time IS 'since the start, s';
COMMENT ON COLUMN strava.activity_streams.distance IS 'since the start, m';
COMMENT ON COLUMN strava.activity_streams.latitude IS 'degrees north';
COMMENT ON COLUMN strava.activity_streams.longitude IS 'degrees east';
COMMENT ON COLUMN strava.activity_streams.altitude IS 'm above sea level';
COMMENT ON COLUMN strava.activity_streams.velocity_smooth IS 'speed, m/s';
COMMENT ON COLUMN strava.activity_streams.heartrate IS 'heart rate, bpm';
COMMENT ON COLUMN strava.activity_streams.cadence IS 'cadence, rpm';
COMMENT ON COLUMN strava.activity_streams.watts IS 'power, W';
COMMENT ON COLUMN strava.activity_streams.temp IS 'temperature, degrees Celsius';
COMMENT ON COLUMN strava.activity_streams.moving IS 'in motion';
COMMENT ON COLUMN strava.activity_streams.grade_smooth IS 'grade, percent';
COMMENT ON COLUMN strava.activity_streams.other IS 'streams of types not listed here, type -> values';
COMMENT ON COLUMN strava.activity_streams.fetched_at IS 'when the stored answer was asked for (UTC); an older answer never replaces a newer one';

CREATE TABLE strava.route_analyses (
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    point_count INTEGER NOT NULL,
    distance_m DOUBLE PRECISION,
    elapsed_time_s DOUBLE PRECISION,
    moving_time_s DOUBLE PRECISION,
    elevation_gain_m DOUBLE PRECISION,
    elevation_loss_m DOUBLE PRECISION,
    average_speed_mps DOUBLE PRECISION,
    max_speed_mps DOUBLE PRECISION,
    average_heartrate_bpm DOUBLE PRECISION,
    max_heartrate_bpm DOUBLE PRECISION,
    average_power_w DOUBLE PRECISION,
    max_power_w DOUBLE PRECISION,
    streams_fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    analysed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    analysis_version INTEGER,
    haversine_distance_m DOUBLE PRECISION,
    stopped_time_s DOUBLE PRECISION,
    highest_altitude_m DOUBLE PRECISION,
    lowest_altitude_m DOUBLE PRECISION,
    barometric_altitude BOOLEAN,
    pace_s_per_km DOUBLE PRECISION,
    grade_adjusted_speed_mps DOUBLE PRECISION,
    grade_adjusted_pace_s_per_km DOUBLE PRECISION,
    average_cadence_rpm DOUBLE PRECISION,
    average_temperature_c DOUBLE PRECISION,
    normalized_power_w DOUBLE PRECISION,
    power_variability DOUBLE PRECISION,
    intensity DOUBLE PRECISION,
    training_stress DOUBLE PRECISION,
    work_kj DOUBLE PRECISION,
    efficiency_w_per_bpm DOUBLE PRECISION,
    decoupling_percent DOUBLE PRECISION,
    training_impulse DOUBLE PRECISION,
    heart_rate_stress DOUBLE PRECISION,
    training_load DOUBLE PRECISION,
    load_source TEXT,
    gap_count INTEGER,
    gap_time_s DOUBLE PRECISION,
    jump_count INTEGER,
    stuck_time_s DOUBLE PRECISION,
    implausible_count INTEGER,
    faults JSON,
    grades_m JSON,
    route_kind TEXT,
    south_deg DOUBLE PRECISION,
    west_deg DOUBLE PRECISION,
    north_deg DOUBLE PRECISION,
    east_deg DOUBLE PRECISION,
    left_turns INTEGER,
    right_turns INTEGER,
    route_polyline TEXT,
    CONSTRAINT pk_route_analyses PRIMARY KEY (activity_id)
);
CREATE INDEX ix_route_analyses_athlete_id ON strava.route_analyses (athlete_id);
COMMENT ON TABLE strava.route_analyses IS 'one row per activity with streams: figures computed from its samples';
COMMENT ON COLUMN strava.route_analyses.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.route_analyses.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.route_analyses.point_count IS 'samples the figures come from';
COMMENT ON COLUMN strava.route_analyses.distance_m IS 'length by the recorded distance, or by the positions where there is none, m';
COMMENT ON COLUMN strava.route_analyses.elapsed_time_s IS 'time from the first to the last sample, s';
COMMENT ON COLUMN strava.route_analyses.moving_time_s IS 'time in motion, s';
COMMENT ON COLUMN strava.route_analyses.elevation_gain_m IS 'metres climbed, m';
COMMENT ON COLUMN strava.route_analyses.elevation_loss_m IS 'metres descended, m';
COMMENT ON COLUMN strava.route_analyses.average_speed_mps IS 'distance over moving time, m/s';
COMMENT ON COLUMN strava.route_analyses.max_speed_mps IS 'highest speed, m/s';
COMMENT ON COLUMN strava.route_analyses.average_heartrate_bpm IS 'mean heart rate over time, bpm';
COMMENT ON COLUMN strava.route_analyses.max_heartrate_bpm IS 'highest heart rate, bpm';
COMMENT ON COLUMN strava.route_analyses.average_power_w IS 'mean power over moving time, W';
COMMENT ON COLUMN strava.route_analyses.max_power_w IS 'highest power, W';
COMMENT ON COLUMN strava.route_analyses.streams_fetched_at IS 'which streams the figures come from';
COMMENT ON COLUMN strava.route_analyses.analysed_at IS 'when the figures were computed (UTC)';
COMMENT ON COLUMN strava.route_analyses.analysis_version IS 'version of the formulas; empty: before there were versions';
COMMENT ON COLUMN strava.route_analyses.haversine_distance_m IS 'length along the recorded positions, m';
COMMENT ON COLUMN strava.route_analyses.stopped_time_s IS 'elapsed time that was not in motion, s';
COMMENT ON COLUMN strava.route_analyses.highest_altitude_m IS 'highest point, m above sea level';
COMMENT ON COLUMN strava.route_analyses.lowest_altitude_m IS 'lowest point, m above sea level';
COMMENT ON COLUMN strava.route_analyses.barometric_altitude IS 'the altitude is as even as a barometer''s; decides how much it is smoothed';
COMMENT ON COLUMN strava.route_analyses.pace_s_per_km IS 'moving time per kilometre, s';
COMMENT ON COLUMN strava.route_analyses.grade_adjusted_speed_mps IS 'speed on the flat of the same running effort (Minetti 2002), m/s';
COMMENT ON COLUMN strava.route_analyses.grade_adjusted_pace_s_per_km IS 'pace on the flat of the same running effort (Minetti 2002), s per km';
COMMENT ON COLUMN strava.route_analyses.average_cadence_rpm IS 'mean cadence, rpm (runs: steps of one leg per minute)';
COMMENT ON COLUMN strava.route_analyses.average_temperature_c IS 'mean temperature, degrees Celsius';
COMMENT ON COLUMN strava.route_analyses.normalized_power_w IS 'normalized power (Coggan), W';
COMMENT ON COLUMN strava.route_analyses.power_variability IS 'normalized power over mean power, a ratio';
COMMENT ON COLUMN strava.route_analyses.intensity IS 'normalized power over threshold power (Coggan), a ratio';
COMMENT ON COLUMN strava.route_analyses.training_stress IS 'training stress by power (Coggan); 100: an hour at threshold power';
COMMENT ON COLUMN strava.route_analyses.work_kj IS 'work done, kJ';
COMMENT ON COLUMN strava.route_analyses.efficiency_w_per_bpm IS 'normalized power over mean heart rate (Friel), W per bpm';
COMMENT ON COLUMN strava.route_analyses.decoupling_percent IS 'loss of power per heartbeat from the first half to the second (Friel), percent';
COMMENT ON COLUMN strava.route_analyses.training_impulse IS 'TRIMP (Banister): minutes weighted by heart rate reserve';
COMMENT ON COLUMN strava.route_analyses.heart_rate_stress IS 'training stress by heart rate; 100: an hour at threshold heart rate';
COMMENT ON COLUMN strava.route_analyses.training_load IS 'training stress by measured power, else by heart rate; what training_load adds up';
COMMENT ON COLUMN strava.route_analyses.load_source IS 'where training_load comes from: power or heart_rate';
COMMENT ON COLUMN strava.route_analyses.gap_count IS 'pauses of the recording';
COMMENT ON COLUMN strava.route_analyses.gap_time_s IS 'time without samples, s';
COMMENT ON COLUMN strava.route_analyses.jump_count IS 'jumps of the position or the distance that were left out';
COMMENT ON COLUMN strava.route_analyses.stuck_time_s IS 'time during which a sensor repeated itself and was left out, s';
COMMENT ON COLUMN strava.route_analyses.implausible_count IS 'samples that cannot be true and were left out';
COMMENT ON COLUMN strava.route_analyses.faults IS 'what was left out: kind, series, start_s and end_s since the start, samples';
COMMENT ON COLUMN strava.route_analyses.grades_m IS 'metres ridden or run by grade in percent, such as 3..6';
COMMENT ON COLUMN strava.route_analyses.route_kind IS 'loop, out_and_back or point_to_point; empty without positions';
COMMENT ON COLUMN strava.route_analyses.south_deg IS 'southern edge of the positions, degrees north';
COMMENT ON COLUMN strava.route_analyses.west_deg IS 'western edge, degrees east; greater than east_deg across the antimeridian';
COMMENT ON COLUMN strava.route_analyses.north_deg IS 'northern edge, degrees north';
COMMENT ON COLUMN strava.route_analyses.east_deg IS 'eastern edge, degrees east';
COMMENT ON COLUMN strava.route_analyses.left_turns IS 'turns to the left of at least 45 degrees on the simplified line';
COMMENT ON COLUMN strava.route_analyses.right_turns IS 'turns to the right of at least 45 degrees on the simplified line';
COMMENT ON COLUMN strava.route_analyses.route_polyline IS 'line simplified to 10 m, encoded polyline of precision 5';

CREATE TABLE strava.climbs (
    activity_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    start_m DOUBLE PRECISION,
    end_m DOUBLE PRECISION,
    start_index INTEGER,
    end_index INTEGER,
    start_s DOUBLE PRECISION,
    elapsed_time_s DOUBLE PRECISION,
    length_m DOUBLE PRECISION,
    change_m DOUBLE PRECISION,
    average_grade_percent DOUBLE PRECISION,
    max_grade_percent DOUBLE PRECISION,
    category TEXT,
    vam_m_per_h DOUBLE PRECISION,
    average_speed_mps DOUBLE PRECISION,
    average_power_w DOUBLE PRECISION,
    average_heartrate_bpm DOUBLE PRECISION,
    CONSTRAINT pk_climbs PRIMARY KEY (activity_id, number)
);
COMMENT ON TABLE strava.climbs IS 'one row per climb within an activity: at least 300 m long, 3 percent steep and 15 m high';
COMMENT ON COLUMN strava.climbs.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.climbs.number IS 'number of the climb within the activity, from 1';
COMMENT ON COLUMN strava.climbs.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.climbs.start_m IS 'where it begins, metres from the start of the activity';
COMMENT ON COLUMN strava.climbs.end_m IS 'where it ends, metres from the start of the activity';
COMMENT ON COLUMN strava.climbs.start_index IS 'index of its first sample in the streams';
COMMENT ON COLUMN strava.climbs.end_index IS 'index of its last sample in the streams';
COMMENT ON COLUMN strava.climbs.start_s IS 'when it begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.climbs.elapsed_time_s IS 'time from its start to its end, s';
COMMENT ON COLUMN strava.climbs.length_m IS 'length, m';
COMMENT ON COLUMN strava.climbs.change_m IS 'metres climbed, m';
COMMENT ON COLUMN strava.climbs.average_grade_percent IS 'average grade, percent';
COMMENT ON COLUMN strava.climbs.max_grade_percent IS 'grade of its steepest hundred metres, percent';
COMMENT ON COLUMN strava.climbs.category IS 'HC, 1, 2, 3 or 4 by Strava''s rule; empty: none';
COMMENT ON COLUMN strava.climbs.vam_m_per_h IS 'metres climbed per hour (VAM), m/h';
COMMENT ON COLUMN strava.climbs.average_speed_mps IS 'mean speed, m/s';
COMMENT ON COLUMN strava.climbs.average_power_w IS 'mean power, W';
COMMENT ON COLUMN strava.climbs.average_heartrate_bpm IS 'mean heart rate, bpm';

CREATE TABLE strava.descents (
    activity_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    start_m DOUBLE PRECISION,
    end_m DOUBLE PRECISION,
    start_index INTEGER,
    end_index INTEGER,
    start_s DOUBLE PRECISION,
    elapsed_time_s DOUBLE PRECISION,
    length_m DOUBLE PRECISION,
    change_m DOUBLE PRECISION,
    average_grade_percent DOUBLE PRECISION,
    max_grade_percent DOUBLE PRECISION,
    category TEXT,
    vam_m_per_h DOUBLE PRECISION,
    average_speed_mps DOUBLE PRECISION,
    average_power_w DOUBLE PRECISION,
    average_heartrate_bpm DOUBLE PRECISION,
    CONSTRAINT pk_descents PRIMARY KEY (activity_id, number)
);
COMMENT ON TABLE strava.descents IS 'one row per descent within an activity, found like climbs upside down';
COMMENT ON COLUMN strava.descents.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.descents.number IS 'number of the descent within the activity, from 1';
COMMENT ON COLUMN strava.descents.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.descents.start_m IS 'where it begins, metres from the start of the activity';
COMMENT ON COLUMN strava.descents.end_m IS 'where it ends, metres from the start of the activity';
COMMENT ON COLUMN strava.descents.start_index IS 'index of its first sample in the streams';
COMMENT ON COLUMN strava.descents.end_index IS 'index of its last sample in the streams';
COMMENT ON COLUMN strava.descents.start_s IS 'when it begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.descents.elapsed_time_s IS 'time from its start to its end, s';
COMMENT ON COLUMN strava.descents.length_m IS 'length, m';
COMMENT ON COLUMN strava.descents.change_m IS 'height at the end minus height at the start, negative, m';
COMMENT ON COLUMN strava.descents.average_grade_percent IS 'average grade, percent';
COMMENT ON COLUMN strava.descents.max_grade_percent IS 'grade of its steepest hundred metres, percent';
COMMENT ON COLUMN strava.descents.category IS 'HC, 1, 2, 3 or 4 by Strava''s rule; empty: none';
COMMENT ON COLUMN strava.descents.vam_m_per_h IS 'metres climbed per hour (VAM), m/h';
COMMENT ON COLUMN strava.descents.average_speed_mps IS 'mean speed, m/s';
COMMENT ON COLUMN strava.descents.average_power_w IS 'mean power, W';
COMMENT ON COLUMN strava.descents.average_heartrate_bpm IS 'mean heart rate, bpm';

CREATE TABLE strava.stops (
    activity_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    start_s DOUBLE PRECISION,
    length_s DOUBLE PRECISION,
    along_m DOUBLE PRECISION,
    latitude_deg DOUBLE PRECISION,
    longitude_deg DOUBLE PRECISION,
    CONSTRAINT pk_stops PRIMARY KEY (activity_id, number)
);
COMMENT ON TABLE strava.stops IS 'one row per stop of at least ten seconds within an activity';
COMMENT ON COLUMN strava.stops.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.stops.number IS 'number of the stop within the activity, from 1';
COMMENT ON COLUMN strava.stops.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.stops.start_s IS 'when it begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.stops.length_s IS 'how long it lasts, s';
COMMENT ON COLUMN strava.stops.along_m IS 'where it is, metres from the start of the activity';
COMMENT ON COLUMN strava.stops.latitude_deg IS 'where it is, degrees north';
COMMENT ON COLUMN strava.stops.longitude_deg IS 'where it is, degrees east';

CREATE TABLE strava.power_curve (
    activity_id BIGINT NOT NULL,
    duration_s INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    power_w DOUBLE PRECISION,
    power_start_s DOUBLE PRECISION,
    heart_rate_bpm DOUBLE PRECISION,
    heart_rate_start_s DOUBLE PRECISION,
    speed_mps DOUBLE PRECISION,
    speed_start_s DOUBLE PRECISION,
    CONSTRAINT pk_power_curve PRIMARY KEY (activity_id, duration_s)
);
CREATE INDEX ix_power_curve_athlete_id_duration_s ON strava.power_curve (athlete_id, duration_s);
COMMENT ON TABLE strava.power_curve IS 'one row per activity and duration: best means of power, heart rate and speed';
COMMENT ON COLUMN strava.power_curve.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.power_curve.duration_s IS 'length of the effort, s';
COMMENT ON COLUMN strava.power_curve.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.power_curve.power_w IS 'best mean power, W';
COMMENT ON COLUMN strava.power_curve.power_start_s IS 'when that effort begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.power_curve.heart_rate_bpm IS 'highest mean heart rate, bpm';
COMMENT ON COLUMN strava.power_curve.heart_rate_start_s IS 'when that effort begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.power_curve.speed_mps IS 'highest mean speed, m/s';
COMMENT ON COLUMN strava.power_curve.speed_start_s IS 'when that effort begins, seconds since the start of the activity';

CREATE TABLE strava.distance_efforts (
    activity_id BIGINT NOT NULL,
    distance_m DOUBLE PRECISION NOT NULL,
    athlete_id BIGINT NOT NULL,
    elapsed_time_s DOUBLE PRECISION,
    start_s DOUBLE PRECISION,
    start_m DOUBLE PRECISION,
    CONSTRAINT pk_distance_efforts PRIMARY KEY (activity_id, distance_m)
);
CREATE INDEX ix_distance_efforts_athlete_id_distance_m ON strava.distance_efforts (athlete_id, distance_m);
COMMENT ON TABLE strava.distance_efforts IS 'one row per activity and standard distance: the fastest stretch of that length';
COMMENT ON COLUMN strava.distance_efforts.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.distance_efforts.distance_m IS 'length of the effort, m';
COMMENT ON COLUMN strava.distance_efforts.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.distance_efforts.elapsed_time_s IS 'shortest time for it, halts included, s';
COMMENT ON COLUMN strava.distance_efforts.start_s IS 'when it begins, seconds since the start of the activity';
COMMENT ON COLUMN strava.distance_efforts.start_m IS 'where it begins, metres from the start of the activity';

CREATE TABLE strava.computed_splits (
    activity_id BIGINT NOT NULL,
    unit TEXT NOT NULL,
    split INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    distance_m DOUBLE PRECISION,
    elapsed_time_s DOUBLE PRECISION,
    moving_time_s DOUBLE PRECISION,
    elevation_difference_m DOUBLE PRECISION,
    average_speed_mps DOUBLE PRECISION,
    grade_adjusted_speed_mps DOUBLE PRECISION,
    average_heartrate_bpm DOUBLE PRECISION,
    average_power_w DOUBLE PRECISION,
    average_cadence_rpm DOUBLE PRECISION,
    CONSTRAINT pk_computed_splits PRIMARY KEY (activity_id, unit, split)
);
COMMENT ON TABLE strava.computed_splits IS 'one row per kilometre and per mile of an activity, computed from its samples';
COMMENT ON COLUMN strava.computed_splits.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.computed_splits.unit IS 'metric: per km, standard: per mile';
COMMENT ON COLUMN strava.computed_splits.split IS 'number of the split, from 1';
COMMENT ON COLUMN strava.computed_splits.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.computed_splits.distance_m IS 'length, m; the last one is what remains';
COMMENT ON COLUMN strava.computed_splits.elapsed_time_s IS 'time from start to end, s';
COMMENT ON COLUMN strava.computed_splits.moving_time_s IS 'time in motion, s';
COMMENT ON COLUMN strava.computed_splits.elevation_difference_m IS 'height at the end minus height at the start, m';
COMMENT ON COLUMN strava.computed_splits.average_speed_mps IS 'distance over moving time, m/s';
COMMENT ON COLUMN strava.computed_splits.grade_adjusted_speed_mps IS 'speed on the flat of the same running effort (Minetti 2002), m/s';
COMMENT ON COLUMN strava.computed_splits.average_heartrate_bpm IS 'mean heart rate, bpm';
COMMENT ON COLUMN strava.computed_splits.average_power_w IS 'mean power, W';
COMMENT ON COLUMN strava.computed_splits.average_cadence_rpm IS 'mean cadence, rpm';

CREATE TABLE strava.zone_times (
    activity_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    zone INTEGER NOT NULL,
    athlete_id BIGINT NOT NULL,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    time_s DOUBLE PRECISION,
    CONSTRAINT pk_zone_times PRIMARY KEY (activity_id, kind, zone)
);
COMMENT ON TABLE strava.zone_times IS 'one row per activity and zone, by the zones valid that day';
COMMENT ON COLUMN strava.zone_times.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.zone_times.kind IS 'heart_rate or power';
COMMENT ON COLUMN strava.zone_times.zone IS 'number of the zone, from 1';
COMMENT ON COLUMN strava.zone_times.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.zone_times.low IS 'lower bound, bpm or W';
COMMENT ON COLUMN strava.zone_times.high IS 'upper bound, bpm or W; empty: none';
COMMENT ON COLUMN strava.zone_times.time_s IS 'time in the zone, s';

CREATE TABLE strava.route_matches (
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    route_id BIGINT NOT NULL,
    reversed BOOLEAN NOT NULL,
    shared DOUBLE PRECISION,
    length_m DOUBLE PRECISION,
    latitude DOUBLE PRECISION[],
    longitude DOUBLE PRECISION[],
    CONSTRAINT pk_route_matches PRIMARY KEY (activity_id)
);
CREATE INDEX ix_route_matches_athlete_id_route_id ON strava.route_matches (athlete_id, route_id);
COMMENT ON TABLE strava.route_matches IS 'one row per activity with positions: the route it took; route_ranks tells the ranks on it';
COMMENT ON COLUMN strava.route_matches.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.route_matches.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.route_matches.route_id IS 'the route: id of the activity that was the first to be found on it';
COMMENT ON COLUMN strava.route_matches.reversed IS 'taken the other way round than by that activity';
COMMENT ON COLUMN strava.route_matches.shared IS 'part of the points that lie on the route, 0 to 1; 1 for the first one';
COMMENT ON COLUMN strava.route_matches.length_m IS 'length along the positions, m';
COMMENT ON COLUMN strava.route_matches.latitude IS '128 positions at even distances: degrees north';
COMMENT ON COLUMN strava.route_matches.longitude IS '128 positions at even distances: degrees east, unwrapped at the antimeridian';

CREATE TABLE strava.training_load (
    athlete_id BIGINT NOT NULL,
    day DATE NOT NULL,
    activity_count INTEGER NOT NULL,
    load DOUBLE PRECISION,
    fitness DOUBLE PRECISION,
    fatigue DOUBLE PRECISION,
    form DOUBLE PRECISION,
    week_load DOUBLE PRECISION,
    monotony DOUBLE PRECISION,
    strain DOUBLE PRECISION,
    computed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_training_load PRIMARY KEY (athlete_id, day)
);
COMMENT ON TABLE strava.training_load IS 'one row per athlete and day from the first activity on';
COMMENT ON COLUMN strava.training_load.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.training_load.day IS 'day, by the local start of its activities';
COMMENT ON COLUMN strava.training_load.activity_count IS 'activities that started that day';
COMMENT ON COLUMN strava.training_load.load IS 'training load of the day; 100: an hour at threshold';
COMMENT ON COLUMN strava.training_load.fitness IS 'load remembered over 42 days (CTL)';
COMMENT ON COLUMN strava.training_load.fatigue IS 'load remembered over 7 days (ATL)';
COMMENT ON COLUMN strava.training_load.form IS 'fitness minus fatigue on the day before (TSB)';
COMMENT ON COLUMN strava.training_load.week_load IS 'load of the last seven days';
COMMENT ON COLUMN strava.training_load.monotony IS 'mean over standard deviation of the last seven days (Foster); empty: all alike';
COMMENT ON COLUMN strava.training_load.strain IS 'week_load times monotony (Foster)';
COMMENT ON COLUMN strava.training_load.computed_at IS 'when the row was computed (UTC)';

CREATE TABLE ops.job_progress (
    run_id TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    span_start TIMESTAMP WITH TIME ZONE NOT NULL,
    span_end TIMESTAMP WITH TIME ZONE NOT NULL,
    step TEXT NOT NULL,
    listed INTEGER NOT NULL,
    detailed INTEGER NOT NULL,
    streamed INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    waiting_for TEXT,
    waiting_until TIMESTAMP WITH TIME ZONE,
    estimated_end TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_job_progress PRIMARY KEY (run_id, athlete_id)
);
CREATE INDEX ix_job_progress_updated_at ON ops.job_progress (updated_at);
COMMENT ON TABLE ops.job_progress IS 'how far backfills are: one row per run and athlete';
COMMENT ON COLUMN ops.job_progress.run_id IS 'Dagster''s id of the run';
COMMENT ON COLUMN ops.job_progress.athlete_id IS 'whose history';
COMMENT ON COLUMN ops.job_progress.span_start IS 'the run covers activities that start from here on (UTC)';
COMMENT ON COLUMN ops.job_progress.span_end IS 'and before this (UTC)';
COMMENT ON COLUMN ops.job_progress.step IS 'asset the run is at';
COMMENT ON COLUMN ops.job_progress.listed IS 'activities stored in the span';
COMMENT ON COLUMN ops.job_progress.detailed IS 'of these, with a current detail';
COMMENT ON COLUMN ops.job_progress.streamed IS 'of these, with samples, or known to have none';
COMMENT ON COLUMN ops.job_progress.requests IS 'requests the run has sent so far';
COMMENT ON COLUMN ops.job_progress.waiting_for IS 'why no request is sent just now; empty: it is at work';
COMMENT ON COLUMN ops.job_progress.waiting_until IS 'how long that lasts (UTC)';
COMMENT ON COLUMN ops.job_progress.estimated_end IS 'when the span may be complete (UTC), by the limits and the pace so far';
COMMENT ON COLUMN ops.job_progress.started_at IS 'when the run began (UTC)';
COMMENT ON COLUMN ops.job_progress.updated_at IS 'when this last changed (UTC); long ago and not finished: its process died';
COMMENT ON COLUMN ops.job_progress.finished_at IS 'when the run''s last step ended (UTC)';

CREATE TABLE ops.put_aside (
    activity_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    span_start TIMESTAMP WITH TIME ZONE NOT NULL,
    span_end TIMESTAMP WITH TIME ZONE NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    tried_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_put_aside PRIMARY KEY (activity_id, step)
);
CREATE INDEX ix_put_aside_athlete_id ON ops.put_aside (athlete_id);
COMMENT ON TABLE ops.put_aside IS 'activities that could not be stored; they are tried again with each backfill';
COMMENT ON COLUMN ops.put_aside.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN ops.put_aside.step IS 'summary, detail or streams: what could not be stored';
COMMENT ON COLUMN ops.put_aside.athlete_id IS 'whose activity';
COMMENT ON COLUMN ops.put_aside.reason IS 'why, in one line';
COMMENT ON COLUMN ops.put_aside.span_start IS 'it was met among the activities that start from here on (UTC)';
COMMENT ON COLUMN ops.put_aside.span_end IS 'and before this (UTC)';
COMMENT ON COLUMN ops.put_aside.since IS 'when it was first put aside (UTC)';
COMMENT ON COLUMN ops.put_aside.tried_at IS 'when it was last tried (UTC)';

CREATE TABLE ops.users (
    athlete_id BIGINT NOT NULL,
    strava_access_token TEXT,
    strava_refresh_token TEXT,
    strava_token_expires_at TIMESTAMP WITH TIME ZONE,
    scopes TEXT[] NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    email TEXT,
    email_given_at TIMESTAMP WITH TIME ZONE,
    email_confirmed_at TIMESTAMP WITH TIME ZONE,
    email_nonce TEXT,
    unsubscribe_nonce TEXT,
    unsubscribed_at TIMESTAMP WITH TIME ZONE,
    refreshed_at TIMESTAMP WITH TIME ZONE,
    refresh_not_before TIMESTAMP WITH TIME ZONE,
    dagster_task TEXT,
    connected_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (athlete_id),
    CONSTRAINT ck_users_state CHECK (state IN ('active', 'needs_reauth', 'revoked')),
    CONSTRAINT ck_users_dagster_task CHECK (dagster_task IN ('import', 'removal', 'departure')),
    CONSTRAINT ck_users_mail_consent CHECK (num_nulls(email, email_given_at, email_nonce, unsubscribe_nonce) IN (0, 4) AND (email IS NOT NULL OR email_confirmed_at IS NULL))
);
COMMENT ON TABLE ops.users IS 'connected athletes and their tokens';
COMMENT ON COLUMN ops.users.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.users.strava_access_token IS 'envelope, AES-256-GCM; empty once erased';
COMMENT ON COLUMN ops.users.strava_refresh_token IS 'envelope, AES-256-GCM; empty once erased';
COMMENT ON COLUMN ops.users.strava_token_expires_at IS 'when the access token ends (UTC)';
COMMENT ON COLUMN ops.users.scopes IS 'permissions the athlete granted';
COMMENT ON COLUMN ops.users.state IS 'active, needs_reauth or revoked';
COMMENT ON COLUMN ops.users.generation IS 'rises with every new token pair; bound into the envelopes';
COMMENT ON COLUMN ops.users.email IS 'where ride summaries go once it is confirmed; empty for none';
COMMENT ON COLUMN ops.users.email_given_at IS 'when the address was last given (UTC); not confirmed, it is erased a week later';
COMMENT ON COLUMN ops.users.email_confirmed_at IS 'when its owner confirmed it (UTC); empty: not yet, and it gets nothing but mails that ask for that';
COMMENT ON COLUMN ops.users.email_nonce IS 'bound into the link that confirms the address; another one with each address';
COMMENT ON COLUMN ops.users.unsubscribe_nonce IS 'bound into the links that end the mails; all links with another one are void';
COMMENT ON COLUMN ops.users.unsubscribed_at IS 'when the athlete last ended the mails (UTC); the address was erased then';
COMMENT ON COLUMN ops.users.refreshed_at IS 'when a refresh last gave the tokens (UTC); empty: they came with a code';
COMMENT ON COLUMN ops.users.refresh_not_before IS 'after a failed refresh: no other one before this time (UTC)';
COMMENT ON COLUMN ops.users.dagster_task IS 'what Dagster has yet to be told: import (add the partition, import the history), removal (of the partition, the files in the lake and the runs) or departure (of the partition alone); empty: nothing';
COMMENT ON COLUMN ops.users.connected_at IS 'when the athlete first connected (UTC)';
COMMENT ON COLUMN ops.users.updated_at IS 'when the row last changed (UTC)';

CREATE TABLE ops.token_audit (
    id BIGSERIAL NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    athlete_id BIGINT,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT,
    CONSTRAINT pk_token_audit PRIMARY KEY (id)
);
CREATE INDEX ix_token_audit_at ON ops.token_audit (at);
CREATE INDEX ix_token_audit_athlete_id_at ON ops.token_audit (athlete_id, at);
COMMENT ON TABLE ops.token_audit IS 'every operation on a token';
COMMENT ON COLUMN ops.token_audit.id IS 'order of the operations';
COMMENT ON COLUMN ops.token_audit.at IS 'when (UTC)';
COMMENT ON COLUMN ops.token_audit.athlete_id IS 'whose token; empty while unknown';
COMMENT ON COLUMN ops.token_audit.operation IS 'exchange, refresh, revoke (the grant at Strava), erase (all tokens here), rotate';
COMMENT ON COLUMN ops.token_audit.outcome IS 'ok, adopted (the answer to a process that died), ended before (nothing was left to revoke), or failed';
COMMENT ON COLUMN ops.token_audit.detail IS 'what went wrong, in Strava''s words; why tokens were erased; between which keys; never a token';

CREATE TABLE ops.token_journal (
    id BIGSERIAL NOT NULL,
    athlete_id BIGINT NOT NULL,
    generation INTEGER NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE,
    strava_access_token TEXT,
    strava_refresh_token TEXT,
    strava_token_expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_token_journal PRIMARY KEY (id)
);
CREATE INDEX ix_token_journal_athlete_id ON ops.token_journal (athlete_id);
COMMENT ON TABLE ops.token_journal IS 'refreshes under way: what Strava issued is kept here before anything else is done with it';
COMMENT ON COLUMN ops.token_journal.id IS 'order of the attempts';
COMMENT ON COLUMN ops.token_journal.athlete_id IS 'whose tokens';
COMMENT ON COLUMN ops.token_journal.generation IS 'of the token pair this attempt was to give';
COMMENT ON COLUMN ops.token_journal.begun_at IS 'when the refresh began (UTC), before Strava was asked';
COMMENT ON COLUMN ops.token_journal.answered_at IS 'when the answer was stored (UTC); empty: none came, or the process died';
COMMENT ON COLUMN ops.token_journal.strava_access_token IS 'envelope, as it will stand in ops.users';
COMMENT ON COLUMN ops.token_journal.strava_refresh_token IS 'envelope, as it will stand in ops.users';
COMMENT ON COLUMN ops.token_journal.strava_token_expires_at IS 'when the access token ends (UTC)';

CREATE TABLE ops.key_checks (
    key_id TEXT NOT NULL,
    check_value TEXT NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_key_checks PRIMARY KEY (key_id)
);
COMMENT ON TABLE ops.key_checks IS 'the keys that wrote tokens into this database';
COMMENT ON COLUMN ops.key_checks.key_id IS 'id of a key of STRAVA_TOKEN_KEYS';
COMMENT ON COLUMN ops.key_checks.check_value IS 'tells whether a process has the same key under this id; nothing of the key';
COMMENT ON COLUMN ops.key_checks.first_seen_at IS 'when the key was used first (UTC)';

CREATE TABLE ops.app_status (
    id INTEGER NOT NULL,
    inactive_since TIMESTAMP WITH TIME ZONE,
    probe_at TIMESTAMP WITH TIME ZONE,
    reason TEXT,
    clock_offset_s DOUBLE PRECISION,
    clock_error_s DOUBLE PRECISION,
    clock_learned_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_app_status PRIMARY KEY (id),
    CONSTRAINT ck_app_status_one CHECK (id = 1)
);
COMMENT ON TABLE ops.app_status IS 'what all processes know of the Strava app';
COMMENT ON COLUMN ops.app_status.id IS 'always 1: there is one app';
COMMENT ON COLUMN ops.app_status.inactive_since IS 'since when Strava has the app switched off (UTC); empty: it is not';
COMMENT ON COLUMN ops.app_status.probe_at IS 'when the next call may try whether it is on again (UTC)';
COMMENT ON COLUMN ops.app_status.reason IS 'Strava''s words';
COMMENT ON COLUMN ops.app_status.clock_offset_s IS 'Strava''s clock minus the database''s, as learned from its answers, s';
COMMENT ON COLUMN ops.app_status.clock_error_s IS 'by how much that may be wrong, either way, s';
COMMENT ON COLUMN ops.app_status.clock_learned_at IS 'when an answer last confirmed that (UTC); empty: never, or one contradicts it';

CREATE TABLE ops.api_calls (
    id BIGSERIAL NOT NULL,
    lane TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    athlete_id BIGINT,
    reserved_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    status SMALLINT,
    duration_ms DOUBLE PRECISION,
    CONSTRAINT pk_api_calls PRIMARY KEY (id)
);
CREATE INDEX ix_api_calls_lane_reserved_at ON ops.api_calls (lane, reserved_at);
CREATE INDEX ix_api_calls_reserved_at ON ops.api_calls (reserved_at);
COMMENT ON TABLE ops.api_calls IS 'one row per request to Strava: reservation, record and metric at once';
COMMENT ON COLUMN ops.api_calls.id IS 'order of the reservations';
COMMENT ON COLUMN ops.api_calls.lane IS 'live, reconcile or backfill';
COMMENT ON COLUMN ops.api_calls.endpoint IS 'path with ids left out';
COMMENT ON COLUMN ops.api_calls.athlete_id IS 'on whose behalf';
COMMENT ON COLUMN ops.api_calls.reserved_at IS 'when room was reserved (UTC), before the call was sent';
COMMENT ON COLUMN ops.api_calls.settled_at IS 'when the answer was in (UTC); empty: no answer, or the process died';
COMMENT ON COLUMN ops.api_calls.status IS 'HTTP status; empty without an answer';
COMMENT ON COLUMN ops.api_calls.duration_ms IS 'from sending to the whole answer, ms';

CREATE TABLE ops.quota_windows (
    scope TEXT NOT NULL,
    length_s INTEGER NOT NULL,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    booked INTEGER NOT NULL,
    read_limit INTEGER,
    read_foreign INTEGER NOT NULL,
    overall_limit INTEGER,
    overall_foreign INTEGER NOT NULL,
    blocked_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_quota_windows PRIMARY KEY (scope, length_s, starts_at)
);
CREATE INDEX ix_quota_windows_blocked ON ops.quota_windows (scope, blocked_until) WHERE blocked_until IS NOT NULL;
COMMENT ON TABLE ops.quota_windows IS 'what is used of each of Strava''s rate windows';
COMMENT ON COLUMN ops.quota_windows.scope IS 'app, or athlete and an id, where the limits are the athlete''s own';
COMMENT ON COLUMN ops.quota_windows.length_s IS 'length of the window, s';
COMMENT ON COLUMN ops.quota_windows.starts_at IS 'start (UTC)';
COMMENT ON COLUMN ops.quota_windows.booked IS 'calls of ours that may count in this window';
COMMENT ON COLUMN ops.quota_windows.read_limit IS 'Strava''s limit of reads, once known';
COMMENT ON COLUMN ops.quota_windows.read_foreign IS 'reads Strava counted beyond ours';
COMMENT ON COLUMN ops.quota_windows.overall_limit IS 'Strava''s limit of all calls, once known';
COMMENT ON COLUMN ops.quota_windows.overall_foreign IS 'calls Strava counted beyond ours';
COMMENT ON COLUMN ops.quota_windows.blocked_until IS 'no call before this time (UTC, Strava''s clock): Strava answered 429';

CREATE TABLE ops.webhook_events (
    id BIGSERIAL NOT NULL,
    event_key TEXT NOT NULL,
    source TEXT NOT NULL,
    subscription_id BIGINT NOT NULL,
    object_type TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    aspect_type TEXT NOT NULL,
    owner_id BIGINT NOT NULL,
    event_time TIMESTAMP WITH TIME ZONE NOT NULL,
    updates JSONB NOT NULL,
    signed BOOLEAN NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    fence BIGINT DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    waiting_for TEXT,
    waits INTEGER DEFAULT 0 NOT NULL,
    lost_runs INTEGER DEFAULT 0 NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE,
    taken_up_at TIMESTAMP WITH TIME ZONE,
    run_id TEXT,
    error_class TEXT,
    error_kind TEXT,
    error TEXT,
    finished_at TIMESTAMP WITH TIME ZONE,
    redrives INTEGER DEFAULT 0 NOT NULL,
    redrive_at TIMESTAMP WITH TIME ZONE,
    discarded_at TIMESTAMP WITH TIME ZONE,
    discarded_by TEXT,
    discarded_because TEXT,
    CONSTRAINT pk_webhook_events PRIMARY KEY (id),
    CONSTRAINT uq_webhook_events_event_key UNIQUE (event_key),
    CONSTRAINT ck_webhook_events_state CHECK (state IN ('received', 'launched', 'waiting', 'done', 'dead', 'parked', 'discarded'))
);
CREATE INDEX ix_webhook_events_dead ON ops.webhook_events (id) WHERE state IN ('dead', 'parked');
CREATE INDEX ix_webhook_events_done ON ops.webhook_events (finished_at) WHERE state = 'done';
CREATE INDEX ix_webhook_events_open ON ops.webhook_events (id) WHERE state IN ('received', 'launched', 'waiting');
CREATE INDEX ix_webhook_events_open_object ON ops.webhook_events (object_id) WHERE state IN ('received', 'launched', 'waiting');
CREATE INDEX ix_webhook_events_owner_id_object_id ON ops.webhook_events (owner_id, object_id);
COMMENT ON TABLE ops.webhook_events IS 'the inbox: every accepted webhook event and what became of it';
COMMENT ON COLUMN ops.webhook_events.id IS 'order of arrival';
COMMENT ON COLUMN ops.webhook_events.event_key IS 'sha256 over what makes the event; redeliveries share it';
COMMENT ON COLUMN ops.webhook_events.source IS 'webhook, or reconcile when found by comparing';
COMMENT ON COLUMN ops.webhook_events.subscription_id IS 'Strava''s id of the subscription';
COMMENT ON COLUMN ops.webhook_events.object_type IS 'activity or athlete';
COMMENT ON COLUMN ops.webhook_events.object_id IS 'id of the activity or athlete';
COMMENT ON COLUMN ops.webhook_events.aspect_type IS 'create, update or delete';
COMMENT ON COLUMN ops.webhook_events.owner_id IS 'athlete concerned';
COMMENT ON COLUMN ops.webhook_events.event_time IS 'when it happened, as Strava says (UTC)';
COMMENT ON COLUMN ops.webhook_events.updates IS 'what changed';
COMMENT ON COLUMN ops.webhook_events.signed IS 'the delivery carried a valid signature';
COMMENT ON COLUMN ops.webhook_events.received_at IS 'when it was stored (UTC)';
COMMENT ON COLUMN ops.webhook_events.state IS 'received, launched, waiting, done, dead, parked or discarded';
COMMENT ON COLUMN ops.webhook_events.attempts IS 'how often it ended as a dead letter';
COMMENT ON COLUMN ops.webhook_events.fence IS 'number of the claim on its object that has it, or had it last; a newer claim makes it void';
COMMENT ON COLUMN ops.webhook_events.not_before IS 'not to be claimed before (UTC)';
COMMENT ON COLUMN ops.webhook_events.waiting_for IS 'when waiting: dagster, activity, streams, quota, app, strava, database or replay';
COMMENT ON COLUMN ops.webhook_events.waits IS 'how often it waited for its activity or streams to appear';
COMMENT ON COLUMN ops.webhook_events.lost_runs IS 'how often a run that had it ended without a word';
COMMENT ON COLUMN ops.webhook_events.lease_until IS 'the claim ends here (UTC) unless extended';
COMMENT ON COLUMN ops.webhook_events.taken_up_at IS 'when the run that has it began to work (UTC); empty: it has not begun';
COMMENT ON COLUMN ops.webhook_events.run_id IS 'Dagster run that has it, or had it last';
COMMENT ON COLUMN ops.webhook_events.error_class IS 'transient or permanent, when dead';
COMMENT ON COLUMN ops.webhook_events.error_kind IS 'class of the error that ended it, when dead';
COMMENT ON COLUMN ops.webhook_events.error IS 'why the last try failed';
COMMENT ON COLUMN ops.webhook_events.finished_at IS 'when it was done or given up (UTC)';
COMMENT ON COLUMN ops.webhook_events.redrives IS 'how often it was tried again by itself after it had died';
COMMENT ON COLUMN ops.webhook_events.redrive_at IS 'when dead: tried again by itself at this time (UTC); empty: waits for an operator';
COMMENT ON COLUMN ops.webhook_events.discarded_at IS 'when an operator discarded it (UTC)';
COMMENT ON COLUMN ops.webhook_events.discarded_by IS 'who discarded it';
COMMENT ON COLUMN ops.webhook_events.discarded_because IS 'why it was discarded';

CREATE TABLE ops.tombstones (
    activity_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_tombstones PRIMARY KEY (activity_id)
);
CREATE INDEX ix_tombstones_athlete_id ON ops.tombstones (athlete_id);
COMMENT ON TABLE ops.tombstones IS 'activities that Strava no longer has, so that a late answer brings none of them back';
COMMENT ON COLUMN ops.tombstones.activity_id IS 'Strava''s id of the activity that is gone';
COMMENT ON COLUMN ops.tombstones.athlete_id IS 'whose it was';
COMMENT ON COLUMN ops.tombstones.asked_at IS 'when Strava was asked whether it is still there (UTC); older answers are void';
COMMENT ON COLUMN ops.tombstones.deleted_at IS 'when what was stored of it was deleted (UTC)';
COMMENT ON COLUMN ops.tombstones.reason IS 'what told that it is gone';

CREATE TABLE ops.payloads (
    activity_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    body JSON NOT NULL,
    digest TEXT NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    mapped_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_payloads PRIMARY KEY (activity_id, kind)
);
CREATE INDEX ix_payloads_athlete_id ON ops.payloads (athlete_id);
COMMENT ON TABLE ops.payloads IS 'raw answers, so that tables can be rebuilt without one request';
COMMENT ON COLUMN ops.payloads.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN ops.payloads.kind IS 'summary or detail';
COMMENT ON COLUMN ops.payloads.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.payloads.body IS 'Strava''s answer as it came, with the title or privacy that an event told since';
COMMENT ON COLUMN ops.payloads.digest IS 'of the fields whose change calls for a new detail';
COMMENT ON COLUMN ops.payloads.fetched_at IS 'when it was asked for (UTC)';
COMMENT ON COLUMN ops.payloads.mapped_at IS 'when a re-map last rebuilt rows from it (UTC); empty: never';

CREATE TABLE ops.oauth_states (
    state_hash TEXT NOT NULL,
    browser_hash TEXT NOT NULL,
    email TEXT,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    link_hash TEXT,
    CONSTRAINT pk_oauth_states PRIMARY KEY (state_hash)
);
CREATE INDEX ix_oauth_states_link_hash ON ops.oauth_states (link_hash);
COMMENT ON TABLE ops.oauth_states IS 'connections under way: each state works once, in the browser that began';
COMMENT ON COLUMN ops.oauth_states.state_hash IS 'sha256 of the state that Strava sends back';
COMMENT ON COLUMN ops.oauth_states.browser_hash IS 'sha256 of the cookie of the browser that began';
COMMENT ON COLUMN ops.oauth_states.email IS 'where ride summaries are to go; empty for none';
COMMENT ON COLUMN ops.oauth_states.expires_at IS 'no longer good from here (UTC)';
COMMENT ON COLUMN ops.oauth_states.link_hash IS 'sha256 of the secret part of the link it was begun by; empty: the operator began it';

CREATE TABLE ops.operator_sessions (
    secret_hash TEXT NOT NULL,
    kind TEXT NOT NULL,
    proof TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_operator_sessions PRIMARY KEY (secret_hash),
    CONSTRAINT ck_operator_sessions_kind CHECK (kind IN ('session', 'link'))
);
COMMENT ON TABLE ops.operator_sessions IS 'browsers that are logged in as the operator; what is not here is logged out';
COMMENT ON COLUMN ops.operator_sessions.secret_hash IS 'sha256 of what the browser holds';
COMMENT ON COLUMN ops.operator_sessions.kind IS 'session, or link: a link that signs in once';
COMMENT ON COLUMN ops.operator_sessions.proof IS 'of the token and the settings it was opened under; tells nothing of them';
COMMENT ON COLUMN ops.operator_sessions.opened_at IS 'when it was made (UTC)';
COMMENT ON COLUMN ops.operator_sessions.expires_at IS 'no longer good from here (UTC)';

CREATE TABLE ops.locks (
    name TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    subject TEXT NOT NULL,
    CONSTRAINT pk_locks PRIMARY KEY (name, athlete_id, subject)
);
COMMENT ON TABLE ops.locks IS 'what one transaction at a time may do: it locks the row meanwhile; the rows themselves never change';
COMMENT ON COLUMN ops.locks.name IS 'what it guards';
COMMENT ON COLUMN ops.locks.athlete_id IS 'whose that is; 0: nobody''s in particular';
COMMENT ON COLUMN ops.locks.subject IS 'which of the athlete''s, such as a month; empty: all';

CREATE TABLE ops.work_leases (
    athlete_id BIGINT NOT NULL,
    work TEXT NOT NULL,
    holder TEXT NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_work_leases PRIMARY KEY (athlete_id, work)
);
COMMENT ON TABLE ops.work_leases IS 'who is at work on what takes longer than a transaction may';
COMMENT ON COLUMN ops.work_leases.athlete_id IS 'whose data is worked on';
COMMENT ON COLUMN ops.work_leases.work IS 'step and month';
COMMENT ON COLUMN ops.work_leases.holder IS 'the worker, by a number drawn at random';
COMMENT ON COLUMN ops.work_leases.lease_until IS 'the worker is taken to be gone from here on (UTC); it extends this';

CREATE TABLE ops.invites (
    id BIGSERIAL NOT NULL,
    secret_hash TEXT NOT NULL,
    proof TEXT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    athlete_id BIGINT,
    used_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_invites PRIMARY KEY (id)
);
CREATE INDEX ix_invites_expires_at ON ops.invites (expires_at);
CREATE INDEX ix_invites_secret_hash ON ops.invites (secret_hash);
COMMENT ON TABLE ops.invites IS 'links by which others may connect: one row for each person a link is good for';
COMMENT ON COLUMN ops.invites.id IS 'order in which they were made';
COMMENT ON COLUMN ops.invites.secret_hash IS 'sha256 of the secret part of the link; places of one link share it';
COMMENT ON COLUMN ops.invites.proof IS 'of the operator''s token it was made under; tells nothing of it';
COMMENT ON COLUMN ops.invites.made_at IS 'when the link was made (UTC)';
COMMENT ON COLUMN ops.invites.expires_at IS 'no longer good from here (UTC)';
COMMENT ON COLUMN ops.invites.athlete_id IS 'who has connected by it; empty: nobody yet';
COMMENT ON COLUMN ops.invites.used_at IS 'when that was (UTC); empty: the place is free';
COMMENT ON COLUMN ops.invites.attempts IS 'how often Strava was asked for somebody''s tokens by it';

CREATE TABLE ops.operator_audit (
    id BIGSERIAL NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT,
    outcome TEXT NOT NULL,
    detail TEXT,
    CONSTRAINT pk_operator_audit PRIMARY KEY (id)
);
CREATE INDEX ix_operator_audit_at ON ops.operator_audit (at);
COMMENT ON TABLE ops.operator_audit IS 'what people did to athletes and events, and on whose word';
COMMENT ON COLUMN ops.operator_audit.id IS 'order of the actions';
COMMENT ON COLUMN ops.operator_audit.at IS 'when (UTC)';
COMMENT ON COLUMN ops.operator_audit.actor IS 'operator, athlete, command or strava';
COMMENT ON COLUMN ops.operator_audit.action IS 'connect, forget, replay, discard, login, logout, invite, withdraw';
COMMENT ON COLUMN ops.operator_audit.subject IS 'athlete or event concerned';
COMMENT ON COLUMN ops.operator_audit.outcome IS 'ok or failed';
COMMENT ON COLUMN ops.operator_audit.detail IS 'cause and extent; never health data, never a secret';

CREATE TABLE ops.notifications (
    id BIGSERIAL NOT NULL,
    activity_id BIGINT,
    kind TEXT NOT NULL,
    athlete_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_notifications PRIMARY KEY (id),
    CONSTRAINT uq_notifications_activity_id_kind UNIQUE (activity_id, kind),
    CONSTRAINT ck_notifications_activity CHECK ((kind = 'confirmation') = (activity_id IS NULL)),
    CONSTRAINT ck_notifications_state CHECK (state IN ('pending', 'sent', 'failed', 'skipped')),
    CONSTRAINT ck_notifications_due CHECK ((state = 'pending') = (next_try_at IS NOT NULL))
);
CREATE UNIQUE INDEX ix_notifications_asking ON ops.notifications (athlete_id) WHERE state = 'pending' AND kind = 'confirmation';
CREATE INDEX ix_notifications_athlete_id ON ops.notifications (athlete_id);
CREATE INDEX ix_notifications_due ON ops.notifications (next_try_at) WHERE state = 'pending';
COMMENT ON TABLE ops.notifications IS 'mails about new activities, one row each at most, those that confirm addresses, and what became of them';
COMMENT ON COLUMN ops.notifications.id IS 'order of the mails';
COMMENT ON COLUMN ops.notifications.activity_id IS 'Strava''s id of the activity; empty for a confirmation';
COMMENT ON COLUMN ops.notifications.kind IS 'ride_summary, or confirmation: asks the owner of an address whether mails may go there';
COMMENT ON COLUMN ops.notifications.athlete_id IS 'whose activity or address, and to whom the mail goes';
COMMENT ON COLUMN ops.notifications.state IS 'pending, sent, failed or skipped';
COMMENT ON COLUMN ops.notifications.reason IS 'why it was skipped, failed, or has to be tried again';
COMMENT ON COLUMN ops.notifications.attempts IS 'how often sending began';
COMMENT ON COLUMN ops.notifications.next_try_at IS 'when it is due (UTC), or while it is being sent, when that try counts as dead';
COMMENT ON COLUMN ops.notifications.created_at IS 'when the activity had been stored, or the address was given (UTC)';
COMMENT ON COLUMN ops.notifications.finished_at IS 'when it was sent, or given up (UTC)';

CREATE TABLE ops.confirmation_mails (
    notification_id BIGINT NOT NULL,
    athlete_id BIGINT NOT NULL,
    mailbox_hash TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_confirmation_mails PRIMARY KEY (notification_id)
);
CREATE INDEX ix_confirmation_mails_athlete_id_began_at ON ops.confirmation_mails (athlete_id, began_at);
CREATE INDEX ix_confirmation_mails_began_at ON ops.confirmation_mails (began_at);
CREATE INDEX ix_confirmation_mails_mailbox_hash_began_at ON ops.confirmation_mails (mailbox_hash, began_at);
COMMENT ON TABLE ops.confirmation_mails IS 'what was asked of whom, counted so that nobody can have a stranger flooded; outlives the athletes';
COMMENT ON COLUMN ops.confirmation_mails.notification_id IS 'the mail in ops.notifications, which may be gone by now';
COMMENT ON COLUMN ops.confirmation_mails.athlete_id IS 'who gave the address';
COMMENT ON COLUMN ops.confirmation_mails.mailbox_hash IS 'keyed hash of the address, tags and dots left out; tells nothing without a key';
COMMENT ON COLUMN ops.confirmation_mails.began_at IS 'when sending it began (UTC); the row goes after thirty days';

-- lz4 packs and unpacks faster than the default, which a server built without it keeps.
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
END $$;

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
);
COMMENT ON VIEW strava.activity_points IS 'one row per sample of each activity';
COMMENT ON COLUMN strava.activity_points.activity_id IS 'Strava''s id of the activity';
COMMENT ON COLUMN strava.activity_points.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN strava.activity_points.point_index IS 'number of the sample, from 0; what start_index and end_index of laps and efforts count';
COMMENT ON COLUMN strava.activity_points.time IS 'since the start, s';
COMMENT ON COLUMN strava.activity_points.distance IS 'since the start, m';
COMMENT ON COLUMN strava.activity_points.latitude IS 'degrees north';
COMMENT ON COLUMN strava.activity_points.longitude IS 'degrees east';
COMMENT ON COLUMN strava.activity_points.altitude IS 'm above sea level';
COMMENT ON COLUMN strava.activity_points.velocity_smooth IS 'speed, m/s';
COMMENT ON COLUMN strava.activity_points.heartrate IS 'heart rate, bpm';
COMMENT ON COLUMN strava.activity_points.cadence IS 'cadence, rpm';
COMMENT ON COLUMN strava.activity_points.watts IS 'power, W';
COMMENT ON COLUMN strava.activity_points.temp IS 'temperature, degrees Celsius';
COMMENT ON COLUMN strava.activity_points.moving IS 'in motion';
COMMENT ON COLUMN strava.activity_points.grade_smooth IS 'grade, percent';
