"""An in-memory stand-in for the client's transport: serves made-up bodies and counts what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Engine

from strava_pipeline.errors import FaultDetail, NotAnswered, NotFound, StravaFault
from strava_pipeline.months import Span
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.monitor import RequestMonitor
from strava_pipeline.strava.shapes import ANYTHING, Shape
from strava_pipeline.strava.transport import Transport
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.months_at_work import FailedMonth
from strava_pipeline.sync.pacing import Pace
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.kept import EVERYTHING, Kept

RIDER = 1001
JsonObject = dict[str, Any]
DETAIL_ONLY = ("description", "calories", "laps", "splits_metric", "segment_efforts", "device_name", "photos")


def activity_body(number: int, start: datetime, **more: Any) -> JsonObject:
    """A detailed ride as Strava tells it; a summary is the same without what only the detail holds."""
    started = start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    effort = {"name": "Lap 1", "distance": 500, "elapsed_time": 100, "moving_time": 90, "start_date": started}
    return {
        "id": number,
        "name": f"Ride {number}",
        "type": "Ride",
        "sport_type": "GravelRide",
        "start_date": started,
        "start_date_local": started,
        "timezone": "(GMT+01:00) Europe/Vienna",
        "utc_offset": 7200.0,
        "distance": 1000,
        "moving_time": 200,
        "elapsed_time": 210,
        "manual": False,
        "start_latlng": [],
        "map": {"id": f"a{number}", "summary_polyline": ""},
        "description": "a note",
        "calories": 120.5,
        "device_name": "Odometer 3",
        "laps": [effort | {"id": number * 10 + place, "lap_index": place} for place in (1, 2)],
        "splits_metric": [{"split": 1, "distance": 1000.0, "elapsed_time": 210, "moving_time": 200}],
        "segment_efforts": [effort | {"id": 2**53 + number, "segment": {"id": 77, "name": "The wall"}}],
        "photos": {"primary": {"unique_id": f"photo-{number}", "urls": {"100": "https://pictures.example.invalid/1"}}},
    } | more


def stream_body(samples: int = 4) -> JsonObject:
    """Samples of a ride of 5 m/s that climbs 3 m per second."""
    return {
        "time": {"data": list(range(samples))},
        "distance": {"data": [5.0 * second for second in range(samples)]},
        "altitude": {"data": [3 * second for second in range(samples)]},
        "latlng": {"data": [[48.2, 16.3 + second / 1e4] for second in range(samples)]},
        "heartrate": {"data": [100 + second for second in range(samples)]},
        "moving": {"data": [True] * samples},
    }


@dataclass
class StravaStandIn:
    """What Strava knows, by activity; ``faults`` holds errors to raise for a path, first come first.

    ``listed_unlike``: what a listing tells otherwise than the detail, by activity.
    """

    activities: dict[int, JsonObject] = field(default_factory=dict)
    streams: dict[int, JsonObject] = field(default_factory=dict)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    monitor: RequestMonitor = field(default_factory=RequestMonitor)
    owner: int = RIDER
    listed_unlike: dict[int, JsonObject] = field(default_factory=dict)
    retired: dict[str, JsonObject] = field(default_factory=dict)
    heart_rate_zones: list[JsonObject] = field(
        default_factory=lambda: [{"min": 0, "max": 120}, {"min": 120, "max": 160}, {"min": 160, "max": -1}]
    )

    def add(self, number: int, start: datetime, **more: Any) -> JsonObject:
        """A new activity, or an edited one."""
        self.activities[number] = activity_body(number, start, **more)
        self.streams.setdefault(number, stream_body())
        return self.activities[number]

    def edit(self, number: int, **changes: Any) -> None:
        self.activities[number].update(changes)

    def delete(self, number: int) -> None:
        del self.activities[number]

    def new_requests(self) -> list[str]:
        """The paths asked for since the last call of this."""
        asked, self.asked = self.asked, []
        return asked

    def get(
        self, athlete_id: int, path: str, query: Mapping[str, str] | None = None, *, shape: Shape = ANYTHING
    ) -> Any:
        """Answers like the transport: parsed JSON, or an error of the tree."""
        self.asked.append(path)
        self.monitor.request_booked()
        if self.faults.get(path):
            raise self.faults[path].pop(0)
        body = self._answer(athlete_id, path, query)
        if not shape.fits(body):
            raise NotAnswered(f"GET {path}: the answer is not {shape.name}", status=200, answered=False)
        return body

    def _answer(self, athlete_id: int, path: str, query: Mapping[str, str] | None) -> Any:
        match path.strip("/").split("/"):
            case ["athlete"]:
                return {"id": athlete_id, "firstname": "Mira", "bikes": [{"id": "b1", "name": "Blue", "primary": True}]}
            case ["athletes", number, "stats"]:
                totals = {"count": 2, "distance": 3000.0, "moving_time": 600, "elapsed_time": 700, "elevation_gain": 9}
                return {"biggest_ride_distance": 2000.5, "all_ride_totals": totals} if int(number) == athlete_id else {}
            case ["athlete", "zones"]:
                return {"heart_rate": {"custom_zones": False, "zones": self.heart_rate_zones}}
            case ["athlete", "activities"]:
                return self._listed(athlete_id, query or {})
            case ["activities" | "gear" as kind, number]:
                return self._gear(number) if kind == "gear" else dict(self._known(int(number)))
            case ["activities", number, "streams"]:
                self._known(int(number))
                return self.streams[int(number)]
        raise AssertionError(f"Strava has no {path}")

    def _gear(self, number: str) -> JsonObject:
        if number not in self.retired:
            fault = StravaFault("Record Not Found", (FaultDetail("Gear", "", "invalid"),))
            raise NotFound(f"GET /gear/{number}: gone", status=404, fault=fault)
        return self.retired[number]

    def _known(self, number: int) -> JsonObject:
        if number not in self.activities:
            fault = StravaFault("Resource Not Found", (FaultDetail("Activity", "", "invalid"),))
            raise NotFound(f"GET /activities/{number}: gone", status=404, fault=fault)
        return self.activities[number]

    def _listed(self, athlete_id: int, query: Mapping[str, str]) -> list[JsonObject]:
        """Newest first, both ends left out, paged."""
        after, before = int(query["after"]), int(query["before"])
        page, size = int(query["page"]), int(query["per_page"])
        found = [
            {name: value for name, value in body.items() if name not in DETAIL_ONLY}
            | self.listed_unlike.get(number, {})
            for number, body in self.activities.items()
            if athlete_id == self.owner and after < _epoch(body) < before
        ]
        found.sort(key=_epoch, reverse=True)
        return found[(page - 1) * size : page * size]

    def sync(self, engine: Engine, kept: Kept = EVERYTHING) -> SyncContext:
        """Bringing activities up to date from here, without pauses."""
        self.monitor = RequestMonitor()
        return SyncContext(StravaClient(cast("Transport", self)), engine, Pace(75, 0), self.monitor, kept=kept)


def import_listed(sync: SyncContext, spans: Sequence[Span], *, allow_mass_delete: bool = False) -> list[SpanResult]:
    """Import summaries of spans of which none fails."""
    found = list(import_summaries(sync, spans, allow_mass_delete=allow_mass_delete))
    for each in found:
        if isinstance(each, FailedMonth):
            raise each.error
    return [each for each in found if isinstance(each, SpanResult)]


def _epoch(body: JsonObject) -> float:
    try:
        return datetime.fromisoformat(body["start_date"]).timestamp()
    except (TypeError, ValueError):
        # A start that does not map still stands somewhere in Strava's listing.
        return (datetime(2025, 6, 15, tzinfo=UTC) + timedelta(seconds=body["id"])).timestamp()
