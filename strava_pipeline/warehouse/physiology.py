"""What is known of an athlete's body on a day: thresholds, zones, highest heart rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, func, select

from strava_pipeline.warehouse.tables import activities, athlete_zones, athletes

HEART_RATE = "heart_rate"
POWER = "power"
# A higher reading is a fault of the sensor.
HIGHEST_BELIEVED_BPM = 220


@dataclass(frozen=True)
class Physiology:
    """``None`` and empty where unknown; zones are lower bounds, bpm and W."""

    ftp_w: float | None
    weight_kg: float | None
    sex: str | None
    highest_bpm: float | None
    heart_rate_zones_bpm: tuple[float, ...] = ()
    power_zones_w: tuple[float, ...] = ()


def physiology_of(connection: Connection, athlete_id: int, day: date) -> Physiology:
    """The profile, the zones valid on a day, and the highest heart rate of any activity that can be believed.

    Days before the first known zones get those: Strava tells no older ones.
    """
    profile: Any = connection.execute(
        select(athletes.c.ftp, athletes.c.weight, athletes.c.sex).where(athletes.c.id == athlete_id)
    ).first()
    highest = connection.execute(
        select(func.max(activities.c.max_heartrate)).where(
            activities.c.athlete_id == athlete_id, activities.c.max_heartrate <= HIGHEST_BELIEVED_BPM
        )
    ).scalar()
    ftp, weight, sex = (None, None, None) if profile is None else profile
    zones = {kind: _zones(connection, athlete_id, kind, day) for kind in (HEART_RATE, POWER)}
    return Physiology(ftp or None, weight or None, sex, highest, zones[HEART_RATE], zones[POWER])


def _zones(connection: Connection, athlete_id: int, kind: str, day: date) -> tuple[float, ...]:
    """Lower bounds of the zones valid on a day, the lowest first."""
    zones = athlete_zones.c
    ours = (zones.athlete_id == athlete_id, zones.kind == kind)
    valid = select(func.max(zones.valid_from)).where(*ours, zones.valid_from <= day).scalar_subquery()
    first = select(func.min(zones.valid_from)).where(*ours).scalar_subquery()
    query = select(zones.min).where(*ours, zones.valid_from == func.coalesce(valid, first)).order_by(zones.zone)
    return tuple(float(low) for low in connection.execute(query).scalars())
