"""What Strava knows of an activity of the mock, for its row and its file in the archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.mock_strava.details import described_fields
from strava_pipeline.mock_strava.history import GeneratedActivity
from strava_pipeline.mock_strava.plans import track_of
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.summaries import summary_body
from strava_pipeline.mock_strava.tracks import Track
from strava_pipeline.mock_strava.world import Activity


@dataclass(frozen=True, slots=True)
class ToldActivity:
    """``body``: as the API tells it, without laps and efforts; ``track``: its samples, ``None`` without a recording.

    ``recorded_at`` (UTC) and ``recorded_sport``: as the device knew them, before somebody edited the activity.
    """

    body: JsonObject
    track: Track | None
    recorded_at: datetime
    recorded_sport: str

    @property
    def id(self) -> int:
        number: int = self.body["id"]
        return number

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.body["start_date"])


def generated(activity: Activity) -> GeneratedActivity:
    """Return where an activity comes from; ``ConfigurationError`` for a recorded one, of which no file can be made."""
    if not isinstance(activity.source, GeneratedActivity):
        raise ConfigurationError(f"activity {activity.id} is a recorded answer: only made-up athletes have an archive")
    return activity.source


def told_activity(activity: Activity) -> ToldActivity:
    """Return what the API tells of an activity, and its samples; ``ConfigurationError`` for a recorded one."""
    source = generated(activity)
    profile, plan = source.profile, source.plan
    track = track_of(profile, plan)
    body = summary_body(profile, plan, track) | described_fields(profile, plan, track) | activity.changes
    return ToldActivity(body, track, datetime.fromtimestamp(plan.start, UTC), plan.sport_type)
