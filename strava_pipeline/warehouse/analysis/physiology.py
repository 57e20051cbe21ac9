"""An athlete's physiology on a day: threshold power, weight, zones, highest heart rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, func, select, true

from strava_pipeline.warehouse.schema.tables import activities, athlete_zones, athletes

HEART_RATE = "heart_rate"
POWER = "power"
# A higher reading is taken for a fault of the sensor.
HIGHEST_BELIEVED_BPM = 220


@dataclass(frozen=True)
class Physiology:
    """An athlete's physiology; ``None`` or empty where unknown. Zones are their lower bounds, the lowest first."""

    ftp_w: float | None
    weight_kg: float | None
    sex: str | None
    highest_bpm: float | None
    heart_rate_zones_bpm: tuple[float, ...] = ()
    power_zones_w: tuple[float, ...] = ()


def physiology_of(connection: Connection, athlete_id: int, day: date) -> Physiology:
    """Return an athlete's profile, zones valid on a day, and highest plausible heart rate of all activities.

    A day before the first known zones gets the first known zones, because Strava returns no older ones.
    """
    highest = (
        select(func.max(activities.c.max_heartrate))
        .where(activities.c.athlete_id == athlete_id, activities.c.max_heartrate <= HIGHEST_BELIEVED_BPM)
        .scalar_subquery()
    )
    profile = select(athletes.c.ftp, athletes.c.weight, athletes.c.sex).where(athletes.c.id == athlete_id).subquery()
    ftp, weight, sex, highest_bpm = connection.execute(
        select(profile, highest).select_from(select(1).subquery().outerjoin(profile, true()))
    ).one()
    zones = _zones(connection, athlete_id, day)
    return Physiology(ftp or None, weight or None, sex, highest_bpm, zones[HEART_RATE], zones[POWER])


def _zones(connection: Connection, athlete_id: int, day: date) -> dict[str, tuple[float, ...]]:
    """Lower bounds of the zones valid on a day by kind, the lowest first."""
    zones = athlete_zones.c
    query = (
        select(zones.kind, zones.valid_from, zones.min)
        .where(zones.athlete_id == athlete_id)
        .order_by(zones.kind, zones.valid_from, zones.zone)
    )
    found: dict[str, dict[date, list[float]]] = {HEART_RATE: {}, POWER: {}}
    for kind, since, low in connection.execute(query):
        found[kind].setdefault(since, []).append(float(low))
    return {kind: tuple(_valid(versions, day)) for kind, versions in found.items()}


def _valid(versions: dict[date, list[float]], day: date) -> list[float]:
    """Of versions in order of their first day, the last one that began by ``day``, else the first one."""
    begun = [zones for since, zones in versions.items() if since <= day]
    return begun[-1] if begun else next(iter(versions.values()), [])
