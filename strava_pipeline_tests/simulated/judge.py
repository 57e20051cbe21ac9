"""Compares the tables with what Strava has, and tells since when each difference is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, and_, delete, select

from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import COUNTERS
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams, import_summaries
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.analysis_tables import route_matches
from strava_pipeline.warehouse.schema.ops_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, gear
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.histories import ACTIVITY_TABLES, EMPTYING, contents
from strava_pipeline_tests.simulated.world import SimulatedWorld
from strava_pipeline_tests.strava_stand_in import StravaStandIn, stream_body

# When an answer was asked for, and a figure computed, is no part of what Strava has.
TIMES = {"fetched_at", "streams_fetched_at", "analysed_at", "computed_at", "mapped_at"}
# Which of two rides on a route came first to be analysed decides how the route is named.
COMPARED = tuple(table for table in ACTIVITY_TABLES if table is not route_matches)
# What a listing tells and a column keeps as it is.
LISTED = (
    "name", "type", "sport_type", "distance", "moving_time", "elapsed_time", "total_elevation_gain", "kudos_count",
    "private", "visibility", "commute", "gear_id",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What differs from Strava, by athlete and activity, and since when at the earliest (epoch s)."""

    athlete_id: int
    about: str
    what: str
    since: float
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = "".join(f"\n    {line}" for line in self.history)
        return f"athlete {self.athlete_id}, {self.about}: {self.what}{told}"


@dataclass(frozen=True)
class Judge:
    """``connected`` says when each athlete who stays connected was connected (epoch s)."""

    engine: Engine
    world: SimulatedWorld
    connected: dict[int, float]

    def differences(self) -> Iterator[Difference]:
        """Yield every difference that there is now."""
        stored = self._stored()
        for athlete_id in self.connected:
            truth = self.world.truth(athlete_id)
            ours = {row.id: row for row in stored if row.athlete_id == athlete_id}
            for number in truth.keys() | ours.keys():
                if what := _difference(truth.get(number), ours.get(number)):
                    yield self._told(athlete_id, f"activity {number}", what, number)
            named = {body["gear_id"] for body in truth.values() if body["gear_id"] is not None}
            yield from self._gear(athlete_id, named)

    def unlike_a_fresh_import(self) -> list[str]:
        """Empty the tables of activities, import everything at once, and return the tables that had other rows."""
        with self.engine.begin() as connection:
            left = delete(activities).where(activities.c.athlete_id.not_in(self.connected))
            connection.execute(left)
        ours = self._rows()
        with self.engine.begin() as connection:
            connection.execute(EMPTYING)
        for athlete_id in self.connected:
            truth = self.world.truth(athlete_id)
            streams = {number: stream_body(body["elapsed_time"]) for number, body in truth.items()}
            sync = StravaStandIn(truth, streams, owner=athlete_id).sync(self.engine)
            whole = Span(athlete_id, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
            list(import_summaries(sync, [whole]))
            import_details(sync, whole)
            import_streams(sync, whole)
            analyse_span(self.engine, whole)
        fresh = self._rows()
        return [name for name in fresh if fresh[name] != ours[name]]

    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """All rows about activities; counters of a detail are those of when it was asked for."""
        found = contents(self.engine, COMPARED, without=TIMES)
        for row in found[payloads.name]:
            if row["kind"] == PayloadKind.DETAIL:
                row["body"] = {name: value for name, value in row["body"].items() if name not in COUNTERS}
        return found

    def _gear(self, athlete_id: int, named: set[str]) -> Iterator[Difference]:
        """Yield differences of gear that an activity names."""
        with autocommit(self.engine) as connection:
            query = select(gear.c.id, gear.c.name, gear.c.retired).where(gear.c.athlete_id == athlete_id)
            ours = {row.id: (row.name, row.retired) for row in connection.execute(query)}
        for gear_id in sorted(named):
            body = self.world.gear(athlete_id)[gear_id]
            if ours.get(gear_id) != (body["name"], body["retired"]):
                what = f"is {ours.get(gear_id)}, at Strava {body['name'], body['retired']}"
                yield self._told(athlete_id, f"gear {gear_id}", what, athlete_id)

    def _told(self, athlete_id: int, about: str, what: str, subject: int) -> Difference:
        changes = self.world.history.get(subject, [])
        since = max(self.connected[athlete_id], changes[-1].at if changes else 0.0)
        lines = tuple(f"{datetime.fromtimestamp(change.at, UTC):%Y-%m-%d %H:%M:%S} {change.what}" for change in changes)
        return Difference(athlete_id, about, what, since, lines)

    def _stored(self) -> list[Row[Any]]:
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
        with autocommit(self.engine) as connection:
            return list(connection.execute(query))


def _difference(truth: dict[str, Any] | None, ours: Row[Any] | None) -> str | None:
    if truth is None:
        return "is stored, but Strava does not show it"
    if ours is None:
        return "is not stored"
    detail = {
        name: (value, truth[name])
        for name, value in (ours.body or dict.fromkeys(truth)).items()
        if name not in COUNTERS and value != truth[name]
    }
    samples = (ours.point_count, truth["elapsed_time"])
    wrong = {
        "activity": {name: (getattr(ours, name), truth[name]) for name in LISTED if getattr(ours, name) != truth[name]},
        "detail": detail and ("none" if ours.body is None else detail),
        "samples": samples if samples[0] != samples[1] else None,
    }
    told = ", ".join(f"{what} {values}" for what, values in wrong.items() if values)
    return f"differs (ours, Strava's): {told}" if told else None
