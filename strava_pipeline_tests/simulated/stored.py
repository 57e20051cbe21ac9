"""What is stored of activities, gear and profiles, in tables and in the lake, and the same parts of Strava's bodies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pyarrow import parquet
from sqlalchemy import Engine, Row, RowMapping, Select, and_, select

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.strava.mapping.activity import COUNTERS
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    athlete_stats,
    athlete_zones,
    athletes,
    gear,
)
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.strava_stand_in import stream_body

# Values by part, each of which may be as of another time.
Parts = dict[str, Any]
# The value of a part that is not stored.
MISSING = "missing"
ByAthlete = Mapping[int, Mapping[Any, Parts]]
# What a listing tells and a column keeps as it is.
LISTED = (
    "name", "type", "sport_type", "distance", "moving_time", "elapsed_time", "total_elevation_gain", "kudos_count",
    "private", "visibility", "commute", "gear_id",
)  # fmt: skip
ABOUT = ("firstname", "ftp", "weight")
TOTALS = ("count", "distance", "moving_time", "elapsed_time")


def activity_parts(body: JsonObject) -> Parts:
    """The parts of an activity in the tables."""
    return _some(body, LISTED) | _detail_parts(body) | {"samples": body["elapsed_time"]}


def gear_parts(body: JsonObject) -> Parts:
    """The parts of a bike."""
    return {"gear": _some(body, ("name", "retired"))}


def profile_parts(body: JsonObject) -> Parts:
    """The parts of a profile; zones are their lower bounds."""
    zones = [zone["min"] for zone in body["zones"]]
    return {"athlete": _some(body["athlete"], ABOUT), "zones": zones, "totals": _some(body["totals"], TOTALS)}


def lake_parts(body: JsonObject) -> Parts:
    """The parts of an activity in the lake."""
    return {"samples": stream_body(body["elapsed_time"])["distance"]["data"]}


def stored_activities(engine: Engine) -> ByAthlete:
    """Return the parts of activities by athlete and id."""
    detail = payloads.alias("detail")
    query = (
        select(
            activities.c.id,
            activities.c.athlete_id,
            *(activities.c[name] for name in LISTED),
            detail.c.body,
            activity_streams.c.point_count,
        )
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
    )
    found: dict[int, dict[int, Parts]] = defaultdict(dict)
    for row in _rows(engine, query):
        detail_parts = {"detail": MISSING} if row.body is None else _detail_parts(row.body)
        samples = MISSING if row.point_count is None else row.point_count
        found[row.athlete_id][row.id] = _some(row._mapping, LISTED) | detail_parts | {"samples": samples}
    return found


def stored_gear(engine: Engine) -> ByAthlete:
    """Return the parts of gear by athlete and id."""
    found: dict[int, dict[str, Parts]] = defaultdict(dict)
    for row in _rows(engine, select(gear.c.id, gear.c.athlete_id, gear.c.name, gear.c.retired)):
        found[row.athlete_id][row.id] = gear_parts(dict(row._mapping))
    return found


def stored_profiles(engine: Engine) -> Mapping[int, Parts]:
    """Return the parts of profiles by athlete: the newest totals, of all rides, and the newest zones, of power."""
    z, s = athlete_zones.c, athlete_stats.c
    of_rides = (s.period == "all", s.sport == "ride")
    about = {row.id: _some(row._mapping, ABOUT) for row in _rows(engine, select(athletes))}
    totals = {row.athlete_id: row for row in _rows(engine, select(athlete_stats).where(*of_rides).order_by(s.taken_on))}
    zones: dict[int, dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(engine, select(athlete_zones).where(z.kind == "power").order_by(z.valid_from, z.zone)):
        zones[row.athlete_id][row.valid_from].append(row.min)
    return {
        athlete_id: {
            "athlete": about[athlete_id],
            "zones": next(reversed(zones[athlete_id].values()), MISSING),
            "totals": _some(totals[athlete_id]._mapping, TOTALS) if athlete_id in totals else MISSING,
        }
        for athlete_id in about
    }


def stored_in_lake(lake: str) -> ByAthlete:
    """Return the parts of activities in the lake's files by athlete and id."""
    found: dict[int, dict[int, Parts]] = defaultdict(dict)
    for file in Path(lake).glob("athlete_id=*/month=*/*.parquet"):
        athlete_id = int(file.parent.parent.name.partition("=")[2])
        points = parquet.ParquetFile(file).read(["activity_id", "point_index", "distance"]).to_pydict()
        samples: dict[int, list[float]] = defaultdict(list)
        for number, _, distance in sorted(zip(*points.values(), strict=True)):
            samples[number].append(distance)
        for number, distances in samples.items():
            # An activity in the files of two months has a part too many.
            twice = {"in another month": True} if number in found[athlete_id] else {}
            found[athlete_id][number] = {"samples": distances} | twice
    return found


def _rows(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
    with autocommit(engine) as connection:
        return list(connection.execute(query))


def _some(values: Mapping[str, Any] | RowMapping, names: Iterable[str]) -> JsonObject:
    return {name: values[name] for name in names}


def _detail_parts(body: JsonObject) -> JsonObject:
    """Each field of a detail, but for counters, which are those of when it was asked for."""
    fields = {f"detail: {name}": value for name, value in body.items() if name not in COUNTERS}
    return {"detail": sorted(fields)} | fields
