"""One method per endpoint of Strava's API, each returning parsed JSON.

Errors: those of :mod:`strava_pipeline.errors` below ``StravaError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strava_pipeline.errors import NotFound, RetriableStravaError
from strava_pipeline.strava.http import OK
from strava_pipeline.strava.transport import Transport

JsonObject = dict[str, Any]
PAGE_SIZE = 200
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

    def list_activities(self, athlete_id: int, after: datetime, before: datetime) -> Iterator[JsonObject]:
        """Summaries of the activities with ``after <= start < before``, newest first; one call per 200.

        https://developers.strava.com/docs/reference/#api-Activities-getLoggedInAthleteActivities
        """
        # Strava leaves out both ends.
        span = {"after": str(int(after.timestamp()) - 1), "before": str(int(before.timestamp()))}
        page, size = 1, PAGE_SIZE
        while size == PAGE_SIZE:
            query = span | {"page": str(page), "per_page": str(PAGE_SIZE)}
            found = self.get(athlete_id, "/athlete/activities", query)
            if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
                raise RetriableStravaError(
                    f"list of athlete {athlete_id}'s activities: not a list of objects", status=OK
                )
            yield from found
            page, size = page + 1, len(found)

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
            if error.fault.resource or not error.fault.message:
                raise
            return {}

    def _object(self, athlete_id: int, path: str, query: dict[str, str] | None = None) -> JsonObject:
        found = self.get(athlete_id, path, query)
        if not isinstance(found, dict):
            raise RetriableStravaError(f"GET {path} of athlete {athlete_id}: not an object", status=OK)
        return found
