"""What is known of an athlete's body on a day: thresholds, zones, highest heart rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from strava_pipeline.warehouse.tables import activities, athletes

# A higher reading is a fault of the sensor.
HIGHEST_BELIEVED_BPM = 220


@dataclass(frozen=True)
class Physiology:
    """``None`` and empty where unknown; zones are lower bounds, bpm and W."""

    ftp_w: float | None
    weight_kg: float | None
    sex: str | None
    highest_bpm: float | None


def physiology_of(connection: Connection, athlete_id: int) -> Physiology:
    """The athlete's profile, and the highest heart rate of any activity that can be believed."""
    profile: Any = connection.execute(
        select(athletes.c.ftp, athletes.c.weight, athletes.c.sex).where(athletes.c.id == athlete_id)
    ).first()
    highest = connection.execute(
        select(func.max(activities.c.max_heartrate)).where(
            activities.c.athlete_id == athlete_id, activities.c.max_heartrate <= HIGHEST_BELIEVED_BPM
        )
    ).scalar()
    ftp, weight, sex = (None, None, None) if profile is None else profile
    return Physiology(ftp or None, weight or None, sex, highest)
