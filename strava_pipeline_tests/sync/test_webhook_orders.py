"""Create, update and delete, in any order, doubled, cut short and interleaved: the tables end as Strava is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, update

from strava_pipeline.errors import FencedOut, RetriableStravaError
from strava_pipeline.months import Span
from strava_pipeline.sync.webhook import NotThereYet, sync_activity
from strava_pipeline.warehouse.activities.deletion import DEPENDENT_TABLES
from strava_pipeline.warehouse.inbox.claims import Claim, claim_objects, refresh_claim
from strava_pipeline.warehouse.inbox.events import NewEvent, add_events
from strava_pipeline.warehouse.inbox.waits import wait_to_appear
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline_tests.histories import EMPTIED, HistoryTables, all_at_once, contents, histories
from strava_pipeline_tests.inbox import LONG_AGO, an_event, change, connect_riders
from strava_pipeline_tests.month_counts import counts_after_a_check, counts_of_everything
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

AT = datetime(2025, 6, 10, 8, tzinfo=UTC)
JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
NUMBERS = (1, 1, 1, 2)
# Two minutes lie between one change and the next: more than clocks differ.
TICK = timedelta(minutes=2)
TIMES: dict[Table, tuple[str, ...]] = {
    activities: ("fetched_at",),
    activity_streams: ("fetched_at",),
    payloads: ("fetched_at",),
    route_analyses: ("streams_fetched_at",),
    tombstones: ("asked_at",),
    webhook_events: ("received_at", "event_time"),
}
TIME_PASSES = all_at_once(
    [
        update(table).values({name: table.c[name] - TICK for name in names}).cte(f"older_{table.name}")
        for table, names in TIMES.items()
    ]
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
        self.passed = timedelta()

    def clock(self) -> datetime:
        """Strava's time."""
        return datetime.now(UTC) + self.passed

    def change(self, what: str, number: int) -> NewEvent | None:
        """Change Strava; the event of it, or ``None`` if that cannot happen."""
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
        return an_event(number, aspect_type=what, updates=updates, signed=signed, event_time=self.clock())

    def let_time_pass(self) -> None:
        """Two minutes: the database's clock cannot be set, so whatever was stored becomes older."""
        self.passed += TICK
        with self.engine.begin() as connection:
            connection.execute(TIME_PASSES)

    def deliver(self, event: NewEvent) -> None:
        told = replace(event, event_time=event.event_time - self.passed)
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
                self.come_too_late(claim)
        elif kind == "backfill":
            import_listed(self.strava.sync(self.engine), [JUNE], allow_mass_delete=True)

    def work(self) -> None:
        """Runs, until nothing is due."""
        for claim in claim_objects(self.engine, 10):
            self.attempt(claim, dies=False)

    def come_too_late(self, claim: Claim) -> None:
        """A run whose claim a newer one has overtaken changes nothing, however it ends."""
        before = contents(self.engine, EMPTIED)
        with pytest.raises((FencedOut, NotThereYet)) as ended:
            sync_activity(self.strava.sync(self.engine), claim)
        if isinstance(ended.value, NotThereYet):
            # Of a newer claim it hears when it writes. The detail was stored before, and the activity is gone since: so
            # there was nothing to write, and it wants to wait for the streams.
            self.wait(claim, ended.value)
        assert contents(self.engine, EMPTIED) == before

    def attempt(self, claim: Claim, *, dies: bool) -> None:
        taken = refresh_claim(self.engine, claim.fence)
        assert taken is not None
        path = f"/activities/{claim.object_id}/streams"
        self.strava.faults[path] = [RetriableStravaError("killed here")] if dies else []
        try:
            sync_activity(self.strava.sync(self.engine), taken)
        except RetriableStravaError:
            assert dies
        except NotThereYet as error:
            self.wait(taken, error)
        self.strava.faults.clear()

    def wait(self, claim: Claim, error: NotThereYet) -> None:
        with self.engine.begin() as connection:
            wait_to_appear(connection, claim, error.waiting_for, str(error))

    def drain(self) -> None:
        """Time passes until nothing is open."""
        for _ in range(5):
            if self.open_events():
                change(self.engine, not_before=LONG_AGO)
                self.work()

    def open_events(self) -> list[tuple[str, str]]:
        events = contents(self.engine, (webhook_events,))[webhook_events.name]
        return [(event["aspect_type"], event["state"]) for event in events if event["state"] != "done"]


@pytest.fixture
def tables(engine: Engine, owner_engine: Engine) -> HistoryTables:
    connect_riders(engine, RIDER)
    return HistoryTables(engine, owner_engine)


@histories(60)
@given(happens=changes, data=st.data())
def test_the_tables_end_as_strava_is(
    engine: Engine, tables: HistoryTables, happens: list[tuple[str, int]], data: st.DataObject
) -> None:
    tables.empty()
    world = World(engine)
    under_way: list[NewEvent] = []
    for what, number in [("create", 1), *happens]:
        event = world.change(what, number)
        if event is not None:
            # Delivered at any time from now on, and perhaps twice.
            under_way += [event] * data.draw(st.integers(1, 2))
        for _ in range(data.draw(st.integers(0, 2))):
            if under_way:
                world.deliver(under_way.pop(data.draw(st.integers(0, len(under_way) - 1))))
            world.interlude(data.draw(st.sampled_from(INTERLUDES)))
    for event in data.draw(st.permutations(under_way)):
        world.deliver(event)
        world.interlude(data.draw(st.sampled_from(INTERLUDES)))
    world.drain()
    truth = {number: body["name"] for number, body in world.strava.activities.items()}
    found = contents(engine, EMPTIED)
    assert {row["id"]: row["name"] for row in found[activities.name]} == truth
    assert {row["activity_id"] for table in DEPENDENT_TABLES for row in found[table.name]} <= truth.keys()
    assert world.open_events() == []
    assert counts_after_a_check(engine) == counts_of_everything(engine)


def test_an_overtaken_run_that_finds_the_activity_gone_changes_nothing(engine: Engine, tables: HistoryTables) -> None:
    tables.empty()
    world = World(engine)
    world.change("create", 1)
    world.deliver(an_event(1, event_time=world.clock()))
    world.interlude("died")
    deletion = world.change("delete", 1)
    assert deletion is not None
    world.interlude("overtaken")
    world.deliver(deletion)
    world.drain()
    assert contents(engine, (activities,)) == {activities.name: []}
    assert world.open_events() == []


@pytest.mark.parametrize("each_at_once", [True, False])
def test_four_events_of_a_short_life_end_without_the_activity(
    engine: Engine, tables: HistoryTables, *, each_at_once: bool
) -> None:
    for order in sorted(set(permutations(["create", "update", "update", "delete"]))):
        tables.empty()
        world = World(engine)
        for event in [an_event(1, aspect_type=aspect, event_time=world.clock()) for aspect in order]:
            world.deliver(event)
            if each_at_once:
                world.work()
        world.drain()
        assert contents(engine, (activities,)) == {activities.name: []}, order
        assert world.open_events() == [], order
        assert len(contents(engine, (tombstones,))[tombstones.name]) == 1, order
