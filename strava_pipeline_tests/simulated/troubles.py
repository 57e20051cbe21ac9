"""What an installation has to live through, and what that excuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from strava_pipeline.mock_strava.fault_scripts import FaultScript, Kind
from strava_pipeline.mock_strava.state import Mock
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.dagster import Failure, SimulatedDagster
from strava_pipeline_tests.simulated.wsgi_session import SimulatedStrava

HOUR_S = 3600.0
# Whoever waits for Strava or the database gives up, or sees that it is back, within this time.
ECHO_S = HOUR_S


class Trouble(Enum):
    """Who is away."""

    STRAVA_AWAY = auto()
    APP_INACTIVE = auto()
    DAGSTER_AWAY = auto()
    DATABASE_AWAY = auto()
    GRANT_LOST = auto()


# The errors that end runs meanwhile; all that waits for Dagster is killed, or not launched.
EXCUSED = {
    Trouble.STRAVA_AWAY: ("StravaAway", "NotAnswered", "RetriableStravaError"),
    Trouble.APP_INACTIVE: ("AppInactive",),
    Trouble.DAGSTER_AWAY: (),
    Trouble.DATABASE_AWAY: ("DatabaseUnavailable",),
    Trouble.GRANT_LOST: ("NeedsReauthorization",),
}


@dataclass(frozen=True)
class Spell:
    """A trouble and its time (epoch s)."""

    trouble: Trouble
    begin: float
    end: float


@dataclass
class Troubles:
    """Makes troubles, and keeps the time of each; ``spells`` holds those to come to an end as well."""

    mock: Mock
    crew: Crew
    strava: SimulatedStrava
    dagster: SimulatedDagster
    spells: list[Spell] = field(default_factory=list)

    def note(self, trouble: Trouble, hours: float) -> None:
        """Keep a trouble that begins now."""
        now = self.crew.time.now
        self.spells.append(Spell(trouble, now, now + hours * HOUR_S))

    def live_through(self, trouble: Trouble, hours: float) -> None:
        """Let a trouble begin, and end after that time."""
        self.note(trouble, hours)
        self._set(trouble, is_on=True)
        self.crew.time.sleep(hours * HOUR_S)
        self._set(trouble, is_on=False)

    def calm_since(self, now: float, patience: timedelta) -> float:
        """When a time of patience began (epoch s) that ends now and in which no outage is counted."""
        since = now - patience.total_seconds()
        for spell in sorted(self.spells, key=lambda each: each.begin, reverse=True):
            if spell.trouble is not Trouble.GRANT_LOST and spell.end > since:
                since -= min(spell.end, now) - spell.begin
        return since

    def inexcusable(self, failures: list[Failure]) -> list[Failure]:
        """Return the failures of runs for which no trouble of that time is the reason."""
        return [failure for failure in failures if not any(_excuses(spell, failure) for spell in self.spells)]

    def _set(self, trouble: Trouble, *, is_on: bool) -> None:
        match trouble:
            case Trouble.STRAVA_AWAY:
                self.strava.is_away = is_on
            case Trouble.APP_INACTIVE if is_on:
                everything = f"{self.mock.config.form.api}/*"
                self.mock.faults.add([FaultScript(path=everything, fault=Kind.APP_INACTIVE, times=None)])
            case Trouble.APP_INACTIVE:
                self.mock.faults.clear()
            case Trouble.DAGSTER_AWAY:
                self.dagster.is_away = is_on
                if is_on:
                    self.crew.kill_all()
            case Trouble.DATABASE_AWAY:
                self.crew.database_is_away = is_on


def _excuses(spell: Spell, failure: Failure) -> bool:
    return spell.begin <= failure.at <= spell.end + ECHO_S and failure.kind in EXCUSED[spell.trouble]
