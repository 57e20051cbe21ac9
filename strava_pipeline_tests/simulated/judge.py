"""Compares tables and lake with what was true at Strava."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine, delete

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import COUNTERS
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.schema.analysis_tables import route_matches
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.histories import ACTIVITY_TABLES, EMPTYING, contents
from strava_pipeline_tests.simulated import stored
from strava_pipeline_tests.simulated.comparison import Comparison, Difference, Thing
from strava_pipeline_tests.simulated.stored import Parts
from strava_pipeline_tests.simulated.world import SimulatedWorld
from strava_pipeline_tests.strava_stand_in import StravaStandIn, stream_body

# When an answer was asked for, and a figure computed, is no part of what Strava has.
TIMES = {"fetched_at", "streams_fetched_at", "analysed_at", "computed_at", "mapped_at"}
# Which of two rides on a route came first to be analysed decides how the route is named.
COMPARED = tuple(table for table in ACTIVITY_TABLES if table is not route_matches)


@dataclass(frozen=True)
class Patience:
    """Since when (epoch s) what is stored must have been true: what listings tell, and ``profiles``."""

    listed: float
    profiles: float


@dataclass
class Judge:
    """Looks at the tables and at the lake, and remembers what was missing."""

    engine: Engine
    world: SimulatedWorld
    _comparison: Comparison = field(default_factory=Comparison)
    # States with their parts by the state's address: most states are looked at every day.
    _known: dict[int, tuple[JsonObject, Parts]] = field(default_factory=dict)

    def differences(self, athletes: set[int], now: float, patience: Patience, lake: str | None) -> Iterator[Difference]:
        """Yield all that differs now (epoch s); ``lake``: the lake's folder, if it is to be compared as well."""
        for thing in self._things(athletes, patience, lake):
            difference = self._comparison.difference(thing, now)
            if difference is not None:
                yield difference

    def told(self, difference: Difference) -> str:
        """A difference in words, with all that happened at Strava."""
        changes = self.world.history.get(difference.thing.subject, [])
        lines = (f"{datetime.fromtimestamp(change.at, UTC):%Y-%m-%d %H:%M:%S} {change.what}" for change in changes)
        return "\n    ".join((str(difference), *lines))

    def _things(self, athletes: set[int], patience: Patience, lake: str | None) -> Iterator[Thing]:
        ours, bikes = stored.stored_activities(self.engine), stored.stored_gear(self.engine)
        profiles = stored.stored_profiles(self.engine)
        in_lake = None if lake is None else stored.stored_in_lake(lake)
        for each in sorted(athletes):
            yield from self._of_activities(each, "activity", ours.get(each, {}), self._parts, patience)
            if in_lake is not None:
                yield from self._of_activities(each, "in the lake", in_lake.get(each, {}), stored.lake_parts, patience)
            for gear_id in sorted({body["gear_id"] for body in self.world.visible(each).values()} - {None}):
                seen = partial(self.world.truth.seen_gear, each, gear_id)
                bike = bikes.get(each, {}).get(gear_id)
                yield Thing(each, f"gear {gear_id}", each, bike, seen, stored.gear_parts, patience.listed)
            seen = partial(self.world.truth.seen_profile, each)
            yield Thing(each, "profile", each, profiles.get(each), seen, stored.profile_parts, patience.profiles)

    def _parts(self, body: JsonObject) -> Parts:
        known = self._known.get(id(body))
        if known is None:
            known = self._known[id(body)] = body, stored.activity_parts(body)
        return known[1]

    def _of_activities(
        self, athlete_id: int, what: str, ours: Any, parts: Callable[[JsonObject], Parts], patience: Patience
    ) -> Iterator[Thing]:
        for number in sorted(self.world.visible(athlete_id).keys() | ours.keys()):
            seen = partial(self.world.truth.seen_activity, athlete_id, number)
            yield Thing(athlete_id, f"{what} {number}", number, ours.get(number), seen, parts, patience.listed)

    def unlike_a_fresh_import(self, athletes: set[int]) -> list[str]:
        """Empty the tables of activities, import everything at once, and return the tables that had other rows."""
        with self.engine.begin() as connection:
            connection.execute(delete(activities).where(activities.c.athlete_id.not_in(athletes)))
        ours = self._rows()
        with self.engine.begin() as connection:
            connection.execute(EMPTYING)
        for athlete_id in athletes:
            truth = self.world.visible(athlete_id)
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
