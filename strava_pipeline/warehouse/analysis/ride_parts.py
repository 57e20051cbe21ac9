"""The facts about one activity, part by part. A field without a stated unit has that of the column of its name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Ride:
    """The activity itself, in Strava's figures and units: m, s, m/s, bpm, W, kcal."""

    id: int
    athlete_id: int
    type: str
    sport_type: str
    name: str
    start_date: datetime
    start_date_local: datetime | None
    distance: float | None
    moving_time: int | None
    elapsed_time: int | None
    total_elevation_gain: float | None
    average_speed: float | None
    max_speed: float | None
    average_heartrate: float | None
    max_heartrate: float | None
    average_watts: float | None
    calories: float | None

    @property
    def local_start(self) -> datetime:
        """The activity's start by the local clock, or in UTC if the local time is unknown."""
        return self.start_date_local or self.start_date

    @property
    def local_day(self) -> date:
        """The day of ``local_start``, to which the activity counts."""
        return self.local_start.date()


@dataclass(frozen=True, slots=True)
class Rider:
    """The athlete whose activity it is."""

    firstname: str | None
    measurement_preference: str | None


@dataclass(frozen=True, slots=True)
class RideFigures:
    """Figures that were computed from the activity's samples."""

    training_load: float | None
    elevation_loss_m: float | None
    highest_altitude_m: float | None
    stopped_time_s: float | None
    normalized_power_w: float | None
    work_kj: float | None
    intensity: float | None
    decoupling_percent: float | None
    average_cadence_rpm: float | None
    average_temperature_c: float | None


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians of the last ``activity_count`` activities of the sport, in the units of :class:`Ride`."""

    activity_count: int
    distance: float | None
    moving_time: float | None
    total_elevation_gain: float | None
    average_speed: float | None
    average_heartrate: float | None
    average_watts: float | None
    training_load: float | None


@dataclass(frozen=True, slots=True)
class RideClimb:
    """One climb."""

    start_m: float
    end_m: float
    length_m: float
    change_m: float
    average_grade_percent: float
    category: str | None
    elapsed_time_s: float | None


@dataclass(frozen=True, slots=True)
class RideSplit:
    """One kilometre (``unit``: metric) or mile (standard)."""

    unit: str
    split: int
    distance_m: float
    average_speed_mps: float | None
    elevation_difference_m: float | None
    average_heartrate_bpm: float | None


@dataclass(frozen=True, slots=True)
class ZoneTime:
    """Time in one zone; ``kind``: heart_rate or power, ``low`` and ``high`` in bpm or W."""

    kind: str
    zone: int
    low: float
    high: float | None
    time_s: float


@dataclass(frozen=True, slots=True)
class Record:
    """An athlete's record that the activity holds; ``amount``: duration (s) or distance (m) of the measure, if any."""

    measure: str
    amount: float | None
    value: float


@dataclass(frozen=True, slots=True)
class RouteRank:
    """The activity's rank among all times the athlete took the route in this direction; ``behind_best_s`` in s."""

    rank_on_route: int
    times_taken: int
    behind_best_s: float
    reversed: bool


@dataclass(frozen=True, slots=True)
class LoadDay:
    """One day of the athlete's training load."""

    day: date
    week_load: float
    fitness: float
    fatigue: float
    form: float
