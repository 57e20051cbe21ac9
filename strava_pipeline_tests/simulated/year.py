"""A simulated time of an installation and its athletes, with all its troubles; the mock Strava is the judge."""

from __future__ import annotations

import random
import time as real_time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine, func, select, text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.state import EXTENSION, Mock
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox.events import Stored
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import EventState
from strava_pipeline_tests.month_counts import counts_after_a_check, counts_of_everything
from strava_pipeline_tests.simulated import verdict
from strava_pipeline_tests.simulated.clock import SimulatedTime
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.dagster import SimulatedDagster
from strava_pipeline_tests.simulated.installation import Installation, simulated_services
from strava_pipeline_tests.simulated.judge import Judge, Patience
from strava_pipeline_tests.simulated.people import People
from strava_pipeline_tests.simulated.troubles import HOUR_S, Trouble, Troubles
from strava_pipeline_tests.simulated.world import DAY_S, Change, SimulatedWorld
from strava_pipeline_tests.simulated.wsgi_session import ADDRESS, SimulatedStrava
from strava_pipeline_tests.strava_model import EPOCH_2026

LOST, DOUBLED = 0.03, 0.01
# Strava delivers an event up to three times, until it is accepted.
DELIVERED_AGAIN_AFTER_S = (60.0, 600.0)
VACUUM_EVERY_DAYS = 7
TOKEN_S = DAY_S
# Reading the lake takes longer than reading the tables.
LAKE_EVERY_DAYS = 30


@dataclass(frozen=True)
class Form:
    """How long, how many, and what goes wrong for how many hours; for the last ``patience_days`` nothing happens.

    A difference from Strava that is there for longer than ``patience_days``, or ``profile_days`` in a profile, is a
    failure. ``people_act``: athletes show less, lose their grant and leave, and imports are paused.
    """

    seed: int
    athletes: int = 10
    days: int = 365
    years: int = 10
    activities_a_year: int = 12
    rate: float = 1.0
    patience_days: int = 35
    profile_days: float = 3.0
    troubles: tuple[tuple[Trouble, float], ...] = (
        (Trouble.STRAVA_AWAY, 6.0),
        (Trouble.STRAVA_AWAY, 6.0),
        (Trouble.STRAVA_AWAY, 72.0),
        (Trouble.APP_INACTIVE, 48.0),
        (Trouble.DAGSTER_AWAY, 24.0),
        (Trouble.DATABASE_AWAY, 24.0),
    )
    has_upkeep: bool = True
    details_a_day: int = 10
    recent_hours: int = 12
    people_act: bool = True


def small_form(seed: int) -> Form:
    """Return three athletes and two months, with each trouble once, and shorter."""
    return Form(
        seed,
        athletes=3,
        days=60,
        years=2,
        activities_a_year=12,
        details_a_day=2,
        recent_hours=24,
        rate=1.5,
        troubles=(
            (Trouble.STRAVA_AWAY, 3.0),
            (Trouble.APP_INACTIVE, 8.0),
            (Trouble.DAGSTER_AWAY, 6.0),
            (Trouble.STRAVA_AWAY, 15.0),
            (Trouble.DATABASE_AWAY, 6.0),
        ),
    )


@dataclass
class Report:
    """What came of a simulation: ``faults``, each in words; none if all is as it should be. The rest are counts.

    ``differences``: of each day, how many things differed from Strava.
    """

    faults: list[str] = field(default_factory=list)
    requests: int = 0
    without_answer: int = 0
    refused: int = 0
    changes: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)
    failed_runs: Counter[str] = field(default_factory=Counter)
    dead_letters: dict[str, int] = field(default_factory=dict)
    differences: list[int] = field(default_factory=list)


def simulated_settings(form: Form) -> dict[str, str]:
    """Return the variables of the installation of a form."""
    return {
        "STRAVA_API_URL": f"{ADDRESS}/api/v3",
        "STRAVA_OAUTH_URL": f"{ADDRESS}/oauth",
        "STRAVA_HISTORY_START": f"{datetime.fromtimestamp(EPOCH_2026, UTC).year - form.years}-01-01",
        "STRAVA_IMPORT_BATCH_INTERVAL_SECONDS": "0",
        "STRAVA_UPKEEP_DETAILS_PER_DAY": str(form.details_a_day),
        "STRAVA_UPKEEP_RECENT_HOURS": str(form.recent_hours),
    }


class Year:
    """One simulation, on an empty, migrated database that is its own."""

    def __init__(
        self,
        form: Form,
        settings: Settings,
        engine: Engine,
        owner_engine: Engine,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.form = form
        self.report = Report()
        self._tell, self._told_at = tell, real_time.monotonic()
        self._chance = random.Random(form.seed)
        # The ledger spreads its waits by chance as well.
        random.seed(form.seed)
        self._owner_engine = owner_engine
        self.time = SimulatedTime(owner_engine, self._before_moving)
        self.world = SimulatedWorld(
            random.Random(form.seed), EPOCH_2026, form.athletes, form.years, form.activities_a_year, form.rate
        )
        config = MockConfig.from_settings(settings)
        app = create_mock(
            MockConfig(**vars(config) | {"token_seconds": TOKEN_S}), lambda: self.time.now, self.world.strava
        )
        self.mock: Mock = app.extensions[EXTENSION]
        self.crew = Crew(self.time, engine)
        self.strava = SimulatedStrava(app, random.Random(form.seed), self.crew.sleep)
        self.dagster = SimulatedDagster(self.crew)
        self.installation = Installation(settings, engine, self.crew, self.strava, self.dagster, form.has_upkeep)
        self.troubles = Troubles(self.mock, self.crew, self.strava, self.dagster)
        self.people = People(self.time, self.mock, self.world, self.installation, self.troubles)
        self._late: set[tuple[int, str]] = set()
        self.judge = Judge(owner_engine, self.world)
        self._lake = settings.lake_location()

    def run(self) -> Report:
        """Let the time pass; returns what came of it."""
        with simulated_services(self.strava, self.dagster):
            self.time.start(self.installation.live)
            self.time.start(self._live)
            for place, trouble in enumerate(self.form.troubles):
                self.time.start(partial(self._trouble, *trouble), at=self._begin_of(place))
            self.time.run(EPOCH_2026 + self.form.days * DAY_S + 1)
        self._sum_up()
        return self.report

    def _sum_up(self) -> None:
        report, athletes = self.report, self.people.connected
        report.requests, report.without_answer = self.strava.sent, self.strava.without_answer
        report.failed_runs = Counter(f"{failure.job}: {failure.kind}" for failure in self.dagster.failures)
        report.dead_letters = self._dead_letters()
        report.refused = self.mock.calls.body()["totals"]["too_many_requests"]
        if report.refused:
            report.faults.append(f"{report.refused} calls were refused for the limit")
        report.faults += self.people.faults
        report.faults += map(str, self.troubles.inexcusable(self.dagster.failures))
        report.faults += verdict.left_in_inbox(self._owner_engine, self.world.truth, athletes)
        report.faults += verdict.left_of_others(self._owner_engine, athletes, self._lake)
        report.faults += verdict.unfinished_imports(self._owner_engine)
        if self.form.has_upkeep:
            unlike = self.judge.unlike_a_fresh_import(athletes)
            report.faults += [f"{table} is unlike an import into empty tables" for table in unlike]

    @property
    def _busy_days(self) -> int:
        return self.form.days - self.form.patience_days

    def _begin_of(self, place: int) -> float:
        """When a trouble begins: one after the other, each somewhere in its part of the busy days."""
        part = self._busy_days / len(self.form.troubles)
        return EPOCH_2026 + (place + self._chance.uniform(0.1, 0.6)) * part * DAY_S

    def _live(self) -> None:
        """What athletes and Strava do, day by day."""
        for athlete_id in self.world.people:
            self.people.connect(athlete_id, self.world.usual_scopes(athlete_id))
            if self.form.people_act and athlete_id == self.world.people[0]:
                # In the midst of the import.
                pause = partial(self.people.pause_import, athlete_id, 30)
                self.time.start(pause, at=self.time.now + self._chance.uniform(5, 15))
            self.time.sleep(HOUR_S)
        if self.form.people_act:
            self._plan_grants()
        for day in range(self.form.days):
            midnight = EPOCH_2026 + day * DAY_S
            plans = sorted(self.world.plan_day(midnight), key=lambda plan: plan[0]) if day < self._busy_days else []
            for at, act in plans:
                self._sleep_until(at)
                self._happens(act)
            self._sleep_until(midnight + DAY_S)
            self._judge(day)

    def _plan_grants(self) -> None:
        """Every athlete shows less, or loses the grant, for some days; the last one leaves."""
        busy_s = self._busy_days * DAY_S
        *others, last = self.world.people
        for place, athlete_id in enumerate(others):
            act = self.people.show_less if place % 2 else self.people.lose_grant
            hours = self._chance.uniform(2, min(10, self._busy_days / 5)) * 24
            at = self.time.now + self._chance.uniform(0.1, 0.5) * busy_s
            self.time.start(partial(act, athlete_id, hours), at=at)
        self.time.start(lambda: self._announce(self.people.leave(last)), at=self.time.now + busy_s / 2)

    def _sleep_until(self, moment: float) -> None:
        if moment > self.time.now:
            self.time.sleep(moment - self.time.now)

    def _happens(self, act: Callable[[float], Change | None]) -> None:
        change = act(self.time.now)
        if change is None:
            return
        self.report.changes += 1
        if change.event is None:
            self.report.deliveries["untold"] += 1
        elif self._chance.random() < LOST:
            self.report.deliveries["lost"] += 1
        else:
            self._announce(change.event)

    def _announce(self, event: JsonObject) -> None:
        for _ in range(2 if self._chance.random() < DOUBLED else 1):
            signed = self._chance.random() < 0.5
            at = self.time.now + self._chance.uniform(2, 60)
            self.time.start(partial(self._deliver, event, signed), at=at)

    def _deliver(self, event: JsonObject, signed: bool) -> None:
        for pause_s in (*DELIVERED_AGAIN_AFTER_S, None):
            try:
                stored: Stored = self.installation.deliver(event, signed=signed)
            except DatabaseUnavailable:
                self.report.deliveries["refused"] += 1
                if pause_s is None:
                    self.report.deliveries["lost"] += 1
                    return
                self.time.sleep(pause_s)
            else:
                self.report.deliveries[stored.value] += 1
                return

    def _trouble(self, trouble: Trouble, hours: float) -> None:
        self._tell(f"{self.time.moment:%Y-%m-%d %H:%M} {trouble.name} for {hours:g} h")
        self.troubles.live_through(trouble, hours)

    def _judge(self, day: int) -> None:
        if day % VACUUM_EVERY_DAYS == 0:
            with autocommit(self._owner_engine) as connection:
                connection.execute(text(f"VACUUM ANALYZE {', '.join(str(table) for table in metadata.sorted_tables)}"))
        now, form = self.time.now, self.form
        if counts_after_a_check(self._owner_engine) != counts_of_everything(self._owner_engine):
            self.report.faults.append(
                f"{self.time.moment:%Y-%m-%d} what months were found to lack is not what they lack"
            )
        patience = Patience(
            listed=now - form.patience_days * DAY_S,
            profiles=self.troubles.calm_since(now, timedelta(days=form.profile_days)),
        )
        reads_lake = day % LAKE_EVERY_DAYS == 0 or day == form.days - 1
        found = list(self.judge.differences(self.people.connected, now, patience, self._lake if reads_lake else None))
        self.report.differences.append(len(found))
        for difference in found:
            subject = difference.thing.athlete_id, difference.thing.about
            if difference.is_late and subject not in self._late:
                self._late.add(subject)
                told = f"{self.time.moment:%Y-%m-%d} {self.judge.told(difference)}"
                self.report.faults.append(told)
                self._tell(told)

    def _before_moving(self) -> None:
        now = real_time.monotonic()
        if now - self._told_at >= 10:
            self._told_at = now
            self._tell(
                f"{self.time.moment:%Y-%m-%d %H:%M} {self.strava.sent} requests,"
                f" {self.report.differences[-1:]} differences, {len(self.crew.at_work)} at work"
            )

    def _dead_letters(self) -> dict[str, int]:
        c = webhook_events.c
        query = select(c.error_kind, func.count()).where(c.state == EventState.DEAD).group_by(c.error_kind)
        with autocommit(self._owner_engine) as connection:
            return {str(kind): count for kind, count in connection.execute(query)}
