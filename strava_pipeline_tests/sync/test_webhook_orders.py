"""Create, update and delete, in any order, doubled, cut short and interleaved: the tables end as Strava is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select, update

from strava_pipeline.errors import FencedOut, RetriableStravaError
from strava_pipeline.months import Span
from strava_pipeline.sync.backfill import import_summaries
from strava_pipeline.sync.webhook import NotThereYet, sync_activity
from strava_pipeline.warehouse.activities.activity_store import DEPENDENT_TABLES
from strava_pipeline.warehouse.inbox.claims import Claim, claim_objects, take_up
from strava_pipeline.warehouse.inbox.events import NewEvent, add_events
from strava_pipeline.warehouse.inbox.waits import await_appearance
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.ops_tables import payloads, tombstones, webhook_events
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline_tests.inbox import LONG_AGO, an_event, change, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

AT = datetime(2025, 6, 10, 8, tzinfo=UTC)
JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
NUMBERS = (1, 1, 1, 2)
# Two minutes lie between one change and the next: more than clocks differ.
TICK = timedelta(minutes=2)
TIMES = (
    activities.c.fetched_at,
    activity_streams.c.fetched_at,
    payloads.c.fetched_at,
    route_analyses.c.streams_fetched_at,
    tombstones.c.asked_at,
    webhook_events.c.received_at,
    webhook_events.c.event_time,
)
# What happens at Strava, to one of two activities.
changes = st.lists(
    st.tuples(st.sampled_from(["update", "update", "delete", "create"]), st.sampled_from(NUMBERS)),
    min_size=2,
    max_size=6,
)
# In between: nothing, a run, a run whose process dies after its answer, a run that is overtaken, a backfill.
INTERLUDES = ("", "run", "died", "overtaken", "backfill")


class World:
    """Strava, the inbox, and the runs; every change becomes an event that is delivered sooner or later."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.strava = StravaStandIn()
        self.titles = 0
        self.now = timedelta()

    def change(self, what: str, number: int) -> tuple[timedelta, NewEvent] | None:
        """Change Strava; when, and the event, or ``None`` if that cannot happen."""
        there = number in self.strava.activities
        if there is (what == "create"):
            return None
        self.titles += 1
        self.let_time_pass()
        updates = {}
        if what == "create":
            self.strava.add(number, AT, name=f"Title {self.titles}", has_heartrate=True)
        elif what == "update":
            self.strava.edit(number, name=f"Title {self.titles}")
            updates = {"title": f"Title {self.titles}"}
        else:
            self.strava.delete(number)
        # Half of them are signed, and may be taken at their word.
        signed = self.titles % 2 == 0
        return self.now, an_event(number, aspect_type=what, updates=updates, signed=signed)

    def let_time_pass(self) -> None:
        """Whatever was stored is older by two minutes."""
        self.now += TICK
        with self.engine.begin() as connection:
            for column in TIMES:
                connection.execute(update(column.table).values({column: column - TICK}))

    def deliver(self, happened: timedelta, event: NewEvent) -> None:
        told = replace(event, event_time=datetime.now(UTC) - (self.now - happened))
        with self.engine.begin() as connection:
            add_events(connection, [told])

    def interlude(self, kind: str) -> None:
        if kind == "run":
            self.work()
        elif kind == "died":
            for claim in claim_objects(self.engine, 10):
                self.attempt(claim, dies=True)
            change(self.engine, lease_until=LONG_AGO)
        elif kind == "overtaken":
            old = claim_objects(self.engine, 10)
            change(self.engine, lease_until=LONG_AGO)
            self.work()
            for claim in old:
                with pytest.raises(FencedOut):
                    sync_activity(self.strava.sync(self.engine), claim)
        elif kind == "backfill":
            list(import_summaries(self.strava.sync(self.engine), [JUNE], allow_mass_delete=True))

    def work(self) -> None:
        """Runs, until nothing is due."""
        for claim in claim_objects(self.engine, 10):
            self.attempt(claim, dies=False)

    def attempt(self, claim: Claim, *, dies: bool) -> None:
        taken = take_up(self.engine, claim.fence)
        assert taken is not None
        path = f"/activities/{claim.object_id}/streams"
        self.strava.faults[path] = [RetriableStravaError("killed here")] if dies else []
        try:
            sync_activity(self.strava.sync(self.engine), taken)
        except RetriableStravaError:
            assert dies
        except NotThereYet as error:
            with self.engine.begin() as connection:
                await_appearance(connection, taken, error.waiting_for, str(error))
        self.strava.faults.clear()

    def drain(self) -> None:
        """Time passes until nothing is open."""
        for _ in range(5):
            change(self.engine, not_before=LONG_AGO)
            self.work()

    def open_events(self) -> list[tuple[str, str]]:
        query = select(webhook_events.c.aspect_type, webhook_events.c.state).where(webhook_events.c.state != "done")
        with self.engine.connect() as connection:
            return [(row.aspect_type, row.state) for row in connection.execute(query)]

    def stored(self) -> dict[int, str]:
        with self.engine.connect() as connection:
            return {row.id: row.name for row in connection.execute(select(activities))}

    def children(self) -> set[int]:
        found: set[int] = set()
        with self.engine.connect() as connection:
            for table in DEPENDENT_TABLES:
                found |= set(connection.execute(select(table.c.activity_id)).scalars())
        return found


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in (*DEPENDENT_TABLES, activities, tombstones, webhook_events):
            connection.execute(delete(table))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happens=changes, data=st.data())
def test_the_tables_end_as_strava_is(engine: Engine, happens: list[tuple[str, int]], data: st.DataObject) -> None:
    empty(engine)
    world = World(engine)
    under_way: list[tuple[timedelta, NewEvent]] = []
    for what, number in [("create", 1), *happens]:
        event = world.change(what, number)
        if event is not None:
            # Delivered at any time from now on, and perhaps twice.
            under_way += [event] * data.draw(st.integers(1, 2))
        for _ in range(data.draw(st.integers(0, 2))):
            if under_way:
                world.deliver(*under_way.pop(data.draw(st.integers(0, len(under_way) - 1))))
            world.interlude(data.draw(st.sampled_from(INTERLUDES)))
    for event in data.draw(st.permutations(under_way)):
        world.deliver(*event)
        world.interlude(data.draw(st.sampled_from(INTERLUDES)))
    world.drain()
    truth = {number: body["name"] for number, body in world.strava.activities.items()}
    assert world.stored() == truth
    assert world.children() <= truth.keys()
    assert world.open_events() == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(["create", "update", "update", "delete"]), each_at_once=st.booleans())
def test_four_events_of_a_short_life_end_without_the_activity(
    engine: Engine, order: list[str], each_at_once: bool
) -> None:
    empty(engine)
    world = World(engine)
    for aspect in order:
        world.deliver(timedelta(), an_event(1, aspect_type=aspect))
        if each_at_once:
            world.work()
    world.drain()
    assert world.stored() == {}
    assert world.open_events() == []
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tombstones)).scalar_one() == 1
