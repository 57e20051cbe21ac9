"""A client of Strava's API: one method for each endpoint, which returns the answer's JSON.

Every method raises the errors below ``StravaError`` in :mod:`strava_pipeline.errors`; docstrings name the special ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strava_pipeline.errors import NotFound, RejectedRequest
from strava_pipeline.strava import pagination, shapes
from strava_pipeline.strava.pagination import PAGE_SIZE, JsonObject, Pages
from strava_pipeline.strava.shapes import Shape
from strava_pipeline.strava.transport import Transport

STREAM_TYPES = (
    "time",
    "distance",
    "latlng",
    "altitude",
    "velocity_smooth",
    "heartrate",
    "cadence",
    "watts",
    "temp",
    "moving",
    "grade_smooth",
)
# A gear's id is a text out of an activity. Any other text would change the request's address and get into the ledger.
_GEAR_ID = re.compile(r"[a-z]?[0-9]{1,20}")


@dataclass(frozen=True)
class AthleteProfile:
    """Strava's three answers about an athlete: the athlete, their totals, and their zones."""

    athlete: JsonObject
    stats: JsonObject
    zones: JsonObject


@dataclass(frozen=True)
class StravaClient:
    """Strava's API on behalf of connected athletes."""

    transport: Transport

    def get(self, athlete_id: int, path: str, query: dict[str, str] | None = None) -> Any:
        """Return Strava's answer to a GET of any path, as parsed JSON."""
        return self.transport.get(athlete_id, path, query)

    def get_athlete(self, athlete_id: int) -> JsonObject:
        """Return the athlete, with bikes, shoes, FTP (W) and weight (kg) if ``profile:read_all`` was granted.

        https://developers.strava.com/docs/reference/#api-Athletes-getLoggedInAthlete
        """
        return self._object(athlete_id, "/athlete", shapes.ATHLETE)

    def get_athlete_stats(self, athlete_id: int) -> JsonObject:
        """Return totals of rides, runs and swims (m, s): of four weeks, the year, and all time; public activities only.

        https://developers.strava.com/docs/reference/#api-Athletes-getStats
        """
        return self._object(athlete_id, f"/athletes/{athlete_id}/stats", shapes.TOTALS)

    def get_athlete_zones(self, athlete_id: int) -> JsonObject:
        """Return zones of heart rate (beats per minute) and, with an FTP, of power (W); a ``max`` of -1 means no end.

        ``MissingScope`` without ``profile:read_all``.
        https://developers.strava.com/docs/reference/#api-Athletes-getLoggedInAthleteZones
        """
        return self._object(athlete_id, "/athlete/zones", shapes.ZONES)

    def get_athlete_profile(self, athlete_id: int) -> AthleteProfile:
        """Return athlete, totals and zones, by three calls: Strava has no endpoint for all of them.

        ``MissingScope`` without ``profile:read_all``.
        """
        return AthleteProfile(
            athlete=self.get_athlete(athlete_id),
            stats=self.get_athlete_stats(athlete_id),
            zones=self.get_athlete_zones(athlete_id),
        )

    def get_gear(self, athlete_id: int, gear_id: str) -> JsonObject:
        """Return a bike (``b...``) or a pair of shoes (``g...``), with its distance so far (m).

        ``NotFound`` if there is none with this id; ``RejectedRequest``, before any request, if ``gear_id`` is no id.
        https://developers.strava.com/docs/reference/#api-Gears-getGearById
        """
        if not _GEAR_ID.fullmatch(gear_id):
            raise RejectedRequest(f"gear {gear_id[:40]!r} of athlete {athlete_id}: this is no id of Strava's")
        return self._object(athlete_id, f"/gear/{gear_id}", shapes.GEAR)

    def list_activities(
        self, athlete_id: int, after: datetime, before: datetime, pages: Pages = pagination.ask
    ) -> Iterator[JsonObject]:
        """Yield summaries of the activities with ``after <= start < before``, newest first, each once.

        Makes one call for each 199. An activity that exists during the whole listing is listed, even if others are
        added or deleted meanwhile. ``pages`` may know some of the pages.
        https://developers.strava.com/docs/reference/#api-Activities-getLoggedInAthleteActivities
        """

        def page(after_s: int, before_s: int, number: int) -> list[JsonObject]:
            query = {"after": after_s, "before": before_s, "page": number, "per_page": PAGE_SIZE}
            texts = {name: str(value) for name, value in query.items()}
            found: list[JsonObject] = self.transport.get(
                athlete_id, "/athlete/activities", texts, shape=shapes.ACTIVITIES
            )
            return found

        # Strava excludes both ends.
        return pagination.read_all(page, int(after.timestamp()) - 1, int(before.timestamp()), pages)

    def get_activity(self, athlete_id: int, activity_id: int) -> JsonObject:
        """Return one activity in detail, with all segment efforts; ``NotFound`` if it is deleted or private.

        An answer that holds another activity is not Strava's to this call, and is asked for again.
        https://developers.strava.com/docs/reference/#api-Activities-getActivityById
        """
        query = {"include_all_efforts": "true"}
        return self._object(athlete_id, f"/activities/{activity_id}", shapes.activity(activity_id), query)

    def get_streams(self, athlete_id: int, activity_id: int) -> Any:
        """Return the samples of one activity: an object with a key for each type (older answers: a list).

        The object is empty if Strava has no samples, as for manual and some indoor activities.
        https://developers.strava.com/docs/reference/#api-Streams-getActivityStreams
        """
        query = {"keys": ",".join(STREAM_TYPES), "key_by_type": "true"}
        try:
            return self.transport.get(athlete_id, f"/activities/{activity_id}/streams", query, shape=shapes.STREAMS)
        except NotFound as error:
            # A 404 that names no missing resource means "no samples".
            if any(detail.resource for detail in error.fault.errors):
                raise
            return {}

    def export_gpx(self, athlete_id: int, activity_id: int) -> str:
        """Return an activity as GPX 1.1, built from two calls: Strava's API has no endpoint for GPX.

        ``NotFound`` if the activity is deleted, private, or has no GPS positions.
        """
        from strava_pipeline.strava.mapping.gpx import export_gpx  # noqa: PLC0415  an XML library that nothing else needs

        activity = self.get_activity(athlete_id, activity_id)
        return export_gpx(activity, self.get_streams(athlete_id, activity_id))

    def _object(self, athlete_id: int, path: str, shape: Shape, query: dict[str, str] | None = None) -> JsonObject:
        found: JsonObject = self.transport.get(athlete_id, path, query, shape=shape)
        return found
