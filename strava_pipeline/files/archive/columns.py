"""The home of each column of activities.csv: the attribute of :class:`.row.ArchiveRow`, with its unit, and its type.

Order as Strava wrote it by 2026-05, when there were 103 columns; the list grows before the last one, the media.
Attributes that begin with ``weather_`` are those of :class:`.row.Weather`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strava_pipeline.files.archive import cells
from strava_pipeline.files.archive.cells import Converter


@dataclass(frozen=True, slots=True)
class Column:
    """``name``: where its value goes; ``header``: Strava's English name; ``read``: makes the value of a cell."""

    name: str
    header: str
    read: Converter = cells.number


# Columns 0 to 6 of every table.
ID: Final = Column("id", "Activity ID", cells.bigint)
DATE: Final = Column("start", "Activity Date", cells.text)
NAME: Final = Column("name", "Activity Name", cells.text)
SPORT: Final = Column("sport_word", "Activity Type", cells.text)
DESCRIPTION: Final = Column("description", "Activity Description", cells.text)
SHOWN_ELAPSED: Final = Column("shown_elapsed_s", "Elapsed Time")
SHOWN_DISTANCE: Final = Column("shown_distance", "Distance", cells.text)
FIRST: Final = (ID, DATE, NAME, SPORT, DESCRIPTION, SHOWN_ELAPSED, SHOWN_DISTANCE)

# Those between, which came one after the other, and the path of the recording behind them.
SHOWN_MAX_HEARTRATE: Final = Column("shown_max_heartrate_bpm", "Max Heart Rate")
SHOWN_EFFORT: Final = Column("shown_relative_effort", "Relative Effort")
COMMUTE: Final = Column("shown_commute", "Commute", cells.flag)
PRIVATE_NOTE: Final = Column("private_note", "Activity Private Note", cells.text)
GEAR_NAME: Final = Column("gear_name", "Activity Gear", cells.text)
FILENAME: Final = Column("filename", "Filename", cells.text)

# Always last; the other columns of the second half have fixed places behind the filename.
MEDIA: Final = Column("media", "Media", cells.paths)
MEDIA_PATH: Final = "media/"
# Where the first of these is missing, so is the second: the columns behind them stand two places nearer.
LATE: Final = (Column("type_word", "Type", cells.text), Column("start_time", "Start Time", cells.text))
BEHIND_FILENAME: Final = (
    Column("athlete_weight_kg", "Athlete Weight"),
    Column("bike_weight_kg", "Bike Weight"),
    Column("elapsed_s", "Elapsed Time"),
    Column("moving_s", "Moving Time"),
    Column("distance_m", "Distance"),
    Column("max_speed_mps", "Max Speed"),
    Column("average_speed_mps", "Average Speed"),
    Column("elevation_gain_m", "Elevation Gain"),
    Column("elevation_loss_m", "Elevation Loss"),
    Column("elevation_low_m", "Elevation Low"),
    Column("elevation_high_m", "Elevation High"),
    Column("max_grade_percent", "Max Grade"),
    Column("average_grade_percent", "Average Grade"),
    Column("average_positive_grade_percent", "Average Positive Grade"),
    Column("average_negative_grade_percent", "Average Negative Grade"),
    Column("max_cadence_rpm", "Max Cadence"),
    Column("average_cadence_rpm", "Average Cadence"),
    Column("max_heartrate_bpm", "Max Heart Rate"),
    Column("average_heartrate_bpm", "Average Heart Rate"),
    Column("max_power_w", "Max Watts"),
    Column("average_power_w", "Average Watts"),
    Column("calories_kcal", "Calories"),
    Column("max_temperature_c", "Max Temperature"),
    Column("average_temperature_c", "Average Temperature"),
    Column("relative_effort", "Relative Effort"),
    Column("total_work_j", "Total Work"),
    Column("lift_runs", "Number of Runs", cells.whole),
    Column("uphill_time_s", "Uphill Time"),
    Column("downhill_time_s", "Downhill Time"),
    Column("other_time_s", "Other Time"),
    Column("perceived_exertion", "Perceived Exertion"),
    *LATE,
    Column("weighted_average_power_w", "Weighted Average Power"),
    Column("power_count", "Power Count", cells.whole),
    Column("prefer_perceived_exertion", "Prefer Perceived Exertion", cells.flag),
    Column("perceived_relative_effort", "Perceived Relative Effort"),
    Column("commute", "Commute", cells.flag),
    Column("total_weight_lifted_kg", "Total Weight Lifted"),
    Column("from_upload", "From Upload", cells.flag),
    Column("grade_adjusted_distance_m", "Grade Adjusted Distance"),
    Column("weather_observed_at", "Weather Observation Time", cells.instant),
    Column("weather_condition", "Weather Condition", cells.whole),
    Column("weather_temperature_c", "Weather Temperature"),
    Column("weather_apparent_temperature_c", "Apparent Temperature"),
    Column("weather_dewpoint_c", "Dewpoint"),
    Column("weather_humidity", "Humidity"),
    Column("weather_pressure_hpa", "Weather Pressure"),
    Column("weather_wind_speed_mps", "Wind Speed"),
    Column("weather_wind_gust_mps", "Wind Gust"),
    Column("weather_wind_bearing_deg", "Wind Bearing"),
    Column("weather_precipitation_mm_per_h", "Precipitation Intensity"),
    Column("weather_sunrise", "Sunrise Time", cells.instant),
    Column("weather_sunset", "Sunset Time", cells.instant),
    Column("weather_moon_phase", "Moon Phase"),
    Column("bike_id", "Bike", cells.bike),
    Column("shoe_id", "Gear", cells.shoe),
    Column("weather_precipitation_probability", "Precipitation Probability"),
    Column("weather_precipitation_type", "Precipitation Type", cells.whole),
    Column("weather_cloud_cover", "Cloud Cover"),
    Column("weather_visibility_m", "Weather Visibility"),
    Column("weather_uv_index", "UV Index"),
    Column("weather_ozone_du", "Weather Ozone"),
    Column("jump_count", "Jump Count", cells.whole),
    Column("total_grit", "Total Grit"),
    Column("average_flow", "Average Flow"),
    Column("flagged_code", "Flagged", cells.whole),
    Column("average_elapsed_speed_mps", "Average Elapsed Speed"),
    Column("dirt_distance_m", "Dirt Distance"),
    Column("newly_explored_distance_m", "Newly Explored Distance"),
    Column("newly_explored_dirt_distance_m", "Newly Explored Dirt Distance"),
    Column("activity_count", "Activity Count", cells.text),
    Column("total_steps", "Total Steps", cells.whole),
    Column("carbon_saved_kg", "Carbon Saved"),
    Column("pool_length_m", "Pool Length"),
    Column("training_load", "Training Load"),
    Column("intensity_percent", "Intensity"),
    Column("average_grade_adjusted_speed_mps", "Average Grade Adjusted Pace"),
    Column("timer_time_s", "Timer Time"),
    Column("total_cycles", "Total Cycles", cells.whole),
    Column("recovery", "Recovery", cells.flag),
    Column("with_pet", "With Pet", cells.flag),
    Column("competition", "Competition", cells.flag),
    Column("long_run", "Long Run", cells.flag),
    Column("for_a_cause", "For a Cause", cells.flag),
    Column("with_kid", "With Kid", cells.flag),
    Column("downhill_distance_m", "Downhill Distance"),
    Column("total_sets", "Total Sets", cells.whole),
    Column("total_reps", "Total Reps", cells.whole),
)
# Old English headers, which are also the keys of headers that Strava forgot to translate.
OLD_HEADERS: Final = {
    "Avg Flow": "Average Flow",
    "Avg Elapsed Speed": "Average Elapsed Speed",
    "Sport Type": "Activity Count",
}
