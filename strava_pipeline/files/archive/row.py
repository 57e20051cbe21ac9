"""What one row of activities.csv tells, in SI units, whatever language and year the table is of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RowFault(StrEnum):
    """Why a row is not read."""

    COLUMNS = "columns"  # more or fewer cells than the header
    ID = "id"
    DOUBLE_ID = "double_id"  # an earlier row has this id
    DATE = "date"  # none that can be read, or before 1900, or after the next year
    NUMBER = "number"  # elapsed time, moving time or distance is none, or is negative
    WILD_NUMBER = "wild_number"  # not finite, or far beyond all figures


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not read. ``line``: of the table, from 1, where it begins."""

    line: int
    code: RowFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """The weather at the start, by Strava's service. Shares are 0 to 1; codes are the service's."""

    observed_at: datetime | None = None
    condition: int | None = None
    temperature_c: float | None = None
    apparent_temperature_c: float | None = None
    dewpoint_c: float | None = None
    humidity: float | None = None
    pressure_hpa: float | None = None
    wind_speed_mps: float | None = None
    wind_gust_mps: float | None = None
    wind_bearing_deg: float | None = None
    precipitation_mm_per_h: float | None = None
    sunrise: datetime | None = None
    sunset: datetime | None = None
    moon_phase: float | None = None
    precipitation_probability: float | None = None
    precipitation_type: int | None = None
    cloud_cover: float | None = None
    visibility_m: float | None = None
    uv_index: float | None = None
    ozone_du: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRow:
    """One activity as the archive tells it; ``None`` where the cell is blank, or the table lacks the column.

    ``start``: UTC. ``sport_word``: as written; ``sport``: Strava's sport type, if the word is known. ``shown_...``:
    the first of two columns of one name; ``elapsed_s`` and ``distance_m`` fall back to it. ``filename``: a path below
    ``activities/``; ``export_failed``: Strava could not write the file; ``has_stray_filename``: the cell holds a path
    that is not read. ``has_heartrate_columns``: whether the table could tell a heart rate. ``media``: paths.
    ``flagged_code``: 0 no, 1 yes, 2 unknown to us. ``unknown``: cells, by header, of columns that have no home yet, and
    of those that hold something else than their column should.
    """

    id: int
    start: datetime
    name: str
    sport_word: str
    sport: str | None
    description: str | None = None
    shown_elapsed_s: float | None = None
    shown_distance: str | None = None
    shown_max_heartrate_bpm: float | None = None
    shown_relative_effort: float | None = None
    shown_commute: bool | None = None
    private_note: str | None = None
    gear_name: str | None = None
    filename: str | None = None
    export_failed: bool = False
    has_stray_filename: bool = False
    has_heartrate_columns: bool = False
    athlete_weight_kg: float | None = None
    bike_weight_kg: float | None = None
    elapsed_s: float | None = None
    moving_s: float | None = None
    distance_m: float | None = None
    max_speed_mps: float | None = None
    average_speed_mps: float | None = None
    elevation_gain_m: float | None = None
    elevation_loss_m: float | None = None
    elevation_low_m: float | None = None
    elevation_high_m: float | None = None
    max_grade_percent: float | None = None
    average_grade_percent: float | None = None
    average_positive_grade_percent: float | None = None
    average_negative_grade_percent: float | None = None
    max_cadence_rpm: float | None = None
    average_cadence_rpm: float | None = None
    max_heartrate_bpm: float | None = None
    average_heartrate_bpm: float | None = None
    max_power_w: float | None = None
    average_power_w: float | None = None
    calories_kcal: float | None = None
    max_temperature_c: float | None = None
    average_temperature_c: float | None = None
    relative_effort: float | None = None
    total_work_j: float | None = None
    lift_runs: int | None = None
    uphill_time_s: float | None = None
    downhill_time_s: float | None = None
    other_time_s: float | None = None
    perceived_exertion: float | None = None
    type_word: str | None = None
    start_time: str | None = None
    weighted_average_power_w: float | None = None
    power_count: int | None = None
    prefer_perceived_exertion: bool | None = None
    perceived_relative_effort: float | None = None
    commute: bool | None = None
    total_weight_lifted_kg: float | None = None
    from_upload: bool | None = None
    grade_adjusted_distance_m: float | None = None
    weather: Weather | None = None
    bike_id: str | None = None
    shoe_id: str | None = None
    jump_count: int | None = None
    total_grit: float | None = None
    average_flow: float | None = None
    flagged_code: int | None = None
    average_elapsed_speed_mps: float | None = None
    dirt_distance_m: float | None = None
    newly_explored_distance_m: float | None = None
    newly_explored_dirt_distance_m: float | None = None
    activity_count: str | None = None
    total_steps: int | None = None
    carbon_saved_kg: float | None = None
    pool_length_m: float | None = None
    training_load: float | None = None
    intensity_percent: float | None = None
    average_grade_adjusted_speed_mps: float | None = None
    timer_time_s: float | None = None
    total_cycles: int | None = None
    recovery: bool | None = None
    with_pet: bool | None = None
    competition: bool | None = None
    long_run: bool | None = None
    for_a_cause: bool | None = None
    with_kid: bool | None = None
    downhill_distance_m: float | None = None
    total_sets: int | None = None
    total_reps: int | None = None
    media: tuple[str, ...] | None = None
    unknown: tuple[tuple[str, str], ...] = ()

    @property
    def gear_id(self) -> str | None:
        """The id of bike or shoes as the API writes it."""
        return self.bike_id or self.shoe_id
