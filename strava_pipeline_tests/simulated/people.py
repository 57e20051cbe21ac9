"""What athletes do with their grant, and the operator with their imports."""

from __future__ import annotations

from dataclasses import dataclass, field

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.state import Mock
from strava_pipeline_tests.simulated.clock import SimulatedTime
from strava_pipeline_tests.simulated.installation import Installation
from strava_pipeline_tests.simulated.troubles import HOUR_S, Trouble, Troubles
from strava_pipeline_tests.simulated.truth import Scopes, shown
from strava_pipeline_tests.simulated.world import SimulatedWorld


@dataclass
class People:
    """``connected`` holds the athletes who have connected and not left; ``faults`` what went wrong meanwhile."""

    time: SimulatedTime
    mock: Mock
    world: SimulatedWorld
    installation: Installation
    troubles: Troubles
    connected: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def connect(self, athlete_id: int, scopes: Scopes) -> None:
        """An athlete connects, and tries again each hour until that succeeds."""
        while not self._connects(athlete_id, scopes):
            self.time.sleep(HOUR_S)
        self.world.allowed[athlete_id] = scopes
        self.world.truth.grant(athlete_id, self.time.now, scopes)
        self.connected.add(athlete_id)

    def show_less(self, athlete_id: int, hours: float) -> None:
        """An athlete connects again and shows less, and later as much as before."""
        before = self.world.allowed[athlete_id]
        self.connect(athlete_id, less_than(before))
        self.time.sleep(hours * HOUR_S)
        self.connect(athlete_id, before)

    def lose_grant(self, athlete_id: int, hours: float) -> None:
        """Strava refuses an athlete's tokens from now on, and does not say so; later the athlete connects again.

        Webhooks still come.
        """
        self.troubles.note(Trouble.GRANT_LOST, hours)
        self.mock.grants.revoke(athlete_id)
        self.world.truth.grant(athlete_id, self.time.now, None)
        self.time.sleep(hours * HOUR_S)
        self.connect(athlete_id, self.world.allowed[athlete_id])

    def leave(self, athlete_id: int) -> JsonObject:
        """An athlete ends the grant at Strava; returns the webhook's event that tells of it."""
        self.mock.grants.revoke(athlete_id)
        self.connected.remove(athlete_id)
        self.world.allowed[athlete_id] = ()
        self.world.truth.grant(athlete_id, self.time.now, None)
        self.troubles.note(Trouble.GRANT_LOST, 1)
        about = {"object_type": "athlete", "object_id": athlete_id, "owner_id": athlete_id}
        told = {"aspect_type": "update", "updates": {"authorized": "false"}, "subscription_id": 1}
        return about | told | {"event_time": int(self.time.now)}

    def pause_import(self, athlete_id: int, hours: float) -> None:
        """The operator pauses an athlete's imports, and resumes them later: nothing is launched meanwhile."""
        self.installation.pause(athlete_id)
        paused_at = self.time.now
        self.time.sleep(hours * HOUR_S)
        launched = [
            run
            for run in self.installation.dagster.runs.values()
            if run.launched_at > paused_at and run.config.get("athlete_id") == athlete_id
        ]
        if launched:
            self.faults.append(f"{len(launched)} runs of athlete {athlete_id}'s paused imports were launched")
        self.installation.resume(athlete_id)

    def _connects(self, athlete_id: int, scopes: Scopes) -> bool:
        code = self.mock.grants.new_code(athlete_id, scopes)
        try:
            self.installation.connect(code, scopes)
        except StravaPipelineError:
            return False
        return True


def less_than(scopes: Scopes) -> Scopes:
    """Return scopes that show less: all activities, those that others see, none."""
    names = {2: ("activity:read",), 1: ()}[shown(scopes)]
    return (*(scope for scope in scopes if not scope.startswith("activity:")), *names)
