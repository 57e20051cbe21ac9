"""One method per endpoint of Strava's API, each returning parsed JSON.

Errors: those of :mod:`strava_pipeline.errors` below ``StravaError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from strava_pipeline.errors import NotFound, RejectedRequest, RetriableStravaError
from strava_pipeline.strava import pagination
from strava_pipeline.strava.pagination import PAGE_SIZE, JsonObject
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
# Comes from an activity as text. Anything else would lead to another address, and stand in the record of calls.
_GEAR_ID = re.compile(r"[a-z]?[0-9]{1,20}")


@dataclass(frozen=True)
class AthleteProfile:
    """An athlete with their totals and zones, as Strava tells each."""

    athlete: JsonObject
    stats: JsonObject
    zones: JsonObject


@dataclass(frozen=True)
class StravaClient:
    """Strava's API on behalf of connected athletes."""

    transport: Transport

    def get(self, athlete_id: int, path: str, query: dict[str, str] | None = None) -> Any:
        """Any GET, as Strava answers it."""
        return self.transport.get(athlete_id, path, query)

    def get_athlete(self, athlete_id: int) -> JsonObject:
        """The athlete, with bikes, shoes, FTP (W) and weight (kg) if ``profile:read_all`` was granted.

        https://developers.strava.com/docs/reference/#api-Athletes-getLoggedInAthlete
        """
        return self._object(athlete_id, "/athlete")

    def get_athlete_stats(self, athlete_id: int) -> JsonObject:
        """Totals of rides, runs and swims (m, s) of four weeks, the year, and all time; of public activities only.

        https://developers.strava.com/docs/reference/#api-Athletes-getStats
        """
        return self._object(athlete_id, f"/athletes/{athlete_id}/stats")

    def get_athlete_zones(self, athlete_id: int) -> JsonObject:
        """Zones of heart rate (beats per minute) and, with an FTP, of power (W); a ``max`` of -1 has no end.

        ``MissingScope`` without ``profile:read_all``.
        https://developers.strava.com/docs/reference/#api-Athletes-getLoggedInAthleteZones
        """
        return self._object(athlete_id, "/athlete/zones")

    def get_athlete_profile(self, athlete_id: int) -> AthleteProfile:
        """Athlete, totals and zones, with three calls: Strava has no endpoint for a whole profile.

        ``MissingScope`` without ``profile:read_all``.
        """
        return AthleteProfile(
            athlete=self.get_athlete(athlete_id),
            stats=self.get_athlete_stats(athlete_id),
            zones=self.get_athlete_zones(athlete_id),
        )

    def get_gear(self, athlete_id: int, gear_id: str) -> JsonObject:
        """A bike (``b...``) or a pair of shoes (``g...``), with the distance it has gone (m). ``NotFound``.

        ``RejectedRequest``, without a request, for what is no id of Strava's.
        https://developers.strava.com/docs/reference/#api-Gears-getGearById
        """
        if not _GEAR_ID.fullmatch(gear_id):
            raise RejectedRequest(f"gear {gear_id[:40]!r} of athlete {athlete_id}: this is no id of Strava's")
        return self._object(athlete_id, f"/gear/{gear_id}")

    def list_activities(self, athlete_id: int, after: datetime, before: datetime) -> Iterator[JsonObject]:
        """Summaries of the activities with ``after <= start < before``, newest first, each once; a call per 199.

        What is there all the while is listed, whatever is added and deleted meanwhile.
        https://developers.strava.com/docs/reference/#api-Activities-getLoggedInAthleteActivities
        """

        def page(after_s: int, before_s: int, number: int) -> list[JsonObject]:
            query = {"after": after_s, "before": before_s, "page": number, "per_page": PAGE_SIZE}
            texts = {name: str(value) for name, value in query.items()}
            return self._objects(athlete_id, "/athlete/activities", texts)

        # Strava leaves out both ends.
        return pagination.read_all(page, int(after.timestamp()) - 1, int(before.timestamp()))

    def get_activity(self, athlete_id: int, activity_id: int) -> JsonObject:
        """One activity in detail, with all segment efforts. ``NotFound`` when gone or private.

        https://developers.strava.com/docs/reference/#api-Activities-getActivityById
        """
        return self._object(athlete_id, f"/activities/{activity_id}", {"include_all_efforts": "true"})

    def get_streams(self, athlete_id: int, activity_id: int) -> Any:
        """The samples of one activity: an object by type (or a list, as older answers had it).

        An empty object when Strava has none: manual and some indoor activities.
        https://developers.strava.com/docs/reference/#api-Streams-getActivityStreams
        """
        query = {"keys": ",".join(STREAM_TYPES), "key_by_type": "true"}
        try:
            return self.get(athlete_id, f"/activities/{activity_id}/streams", query)
        except NotFound as error:
            # Nothing is said to be missing: that is none. A page of HTML tells nothing at all.
            if any(detail.resource for detail in error.fault.errors) or not error.fault.message:
                raise
            return {}

    def export_gpx(self, athlete_id: int, activity_id: int) -> str:
        """An activity as GPX 1.1, built from two calls: Strava's API has no endpoint for it.

        ``NotFound`` when it is gone, private, or has no GPS positions.
        """
        from strava_pipeline.strava.mapping.gpx import export_gpx  # noqa: PLC0415  an XML library that nothing else needs

        activity = self.get_activity(athlete_id, activity_id)
        return export_gpx(activity, self.get_streams(athlete_id, activity_id))

    def _object(self, athlete_id: int, path: str, query: dict[str, str] | None = None) -> JsonObject:
        found = self.get(athlete_id, path, query)
        if not isinstance(found, dict):
            raise RetriableStravaError(f"GET {path} of athlete {athlete_id}: not an object", status=HTTPStatus.OK)
        return found

    def _objects(self, athlete_id: int, path: str, query: dict[str, str] | None = None) -> list[JsonObject]:
        found = self.get(athlete_id, path, query)
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise RetriableStravaError(
                f"GET {path} of athlete {athlete_id}: not a list of objects", status=HTTPStatus.OK
            )
        return found
