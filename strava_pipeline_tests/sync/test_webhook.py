"""The live path: whatever arrives in whatever order, the tables end as Strava is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import FaultDetail, FencedOut, NotFound, RetriableStravaError, StravaFault
from strava_pipeline.months import Span
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.sync.webhook import NotThereYet, sync_activity
from strava_pipeline.warehouse.inbox.claims import Claim, claim_objects
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import WaitingFor
from strava_pipeline_tests.inbox import LONG_AGO, change, claim_one, connect_riders, states, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

AT = datetime(2025, 6, 10, 8, tzinfo=UTC)
JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


@pytest.fixture
def strava() -> StravaStandIn:
    strava = StravaStandIn()
    strava.add(1, AT)
    return strava


def announce(strava: StravaStandIn, engine: Engine, aspect: str, **more: Any) -> None:
    """An event comes in and takes effect at once."""
    store(engine, 1, aspect_type=aspect, **more)
    sync_activity(strava.sync(engine), claim_one(engine))


def stored(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        return {row.id: row.name for row in connection.execute(select(activities))}


def test_one_activity_is_fetched_stored_analysed_and_its_events_done(strava: StravaStandIn, engine: Engine) -> None:
    announce(strava, engine, "create")
    assert strava.new_requests() == ["/activities/1", "/activities/1/streams"]
    assert states(engine) == ["done"]
    with engine.connect() as connection:
        assert list(connection.execute(select(route_analyses.c.activity_id)).scalars()) == [1]


def test_an_answer_that_a_newer_claim_has_overtaken_is_not_stored(strava: StravaStandIn, engine: Engine) -> None:
    store(engine, 1)
    old = claim_one(engine)
    change(engine, lease_until=LONG_AGO)
    new = claim_one(engine)
    with pytest.raises(FencedOut):
        sync_activity(strava.sync(engine), old)
    assert stored(engine) == {}
    sync_activity(strava.sync(engine), new)
    assert stored(engine) == {1: "Ride 1"}


def test_a_zombie_that_wakes_between_its_writes_writes_no_more(strava: StravaStandIn, engine: Engine) -> None:
    store(engine, 1)
    first = claim_one(engine)

    class Stopped(StravaStandIn):
        """The process stands still while it waits for the streams; its lease runs out, and another one works."""

        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            if path.endswith("/streams"):
                change(engine, lease_until=LONG_AGO)
                sync_activity(strava.sync(engine), claim_one(engine))
            return strava.get(athlete_id, path, query, **more)

    with pytest.raises(FencedOut):
        sync_activity(Stopped().sync(engine), first)
    with engine.connect() as connection:
        fetched = connection.execute(select(activity_streams.c.fetched_at)).scalar_one()
        analysed = connection.execute(select(route_analyses.c.streams_fetched_at)).scalar_one()
    assert fetched == analysed
    assert states(engine) == ["done"]


def test_an_older_answer_that_arrives_late_changes_nothing(strava: StravaStandIn, engine: Engine) -> None:
    older = dict(strava.activities[1])
    announce(strava, engine, "create")

    class Overtaken(StravaStandIn):
        """While its answer is on the way, the activity is edited, and a backfill stores that."""

        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            if path == "/activities/1":
                strava.edit(1, name="Newer")
                list(import_summaries(strava.sync(engine), [JUNE]))
                return older
            return strava.get(athlete_id, path, query, **more)

    store(engine, 1, aspect_type="update")
    claim = claim_one(engine)
    with pytest.raises(RetriableStravaError, match="was changed while it was fetched"):
        sync_activity(Overtaken().sync(engine), claim)
    assert stored(engine) == {1: "Newer"}
    # The summary that was newer is not all there is to know.
    strava.new_requests()
    sync_activity(strava.sync(engine), claim)
    assert strava.new_requests() == ["/activities/1"]
    assert states(engine) == ["done", "done"]


def test_a_listing_that_is_quicker_than_the_detail_does_not_take_its_place(
    strava: StravaStandIn, engine: Engine
) -> None:
    class Overtaken(StravaStandIn):
        """While the detail is on the way, a backfill of summaries alone stores the activity."""

        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            if path == "/activities/1":
                list(import_summaries(strava.sync(engine), [JUNE]))
            return strava.get(athlete_id, path, query, **more)

    store(engine, 1)
    claim = claim_one(engine)
    with pytest.raises(RetriableStravaError):
        sync_activity(Overtaken().sync(engine), claim)
    assert states(engine) == ["launched"]
    sync_activity(strava.sync(engine), claim)
    with engine.connect() as connection:
        assert set(connection.execute(select(payloads.c.kind)).scalars()) == {"summary", "detail"}


def test_an_older_answer_loses_also_where_the_newer_one_told_nothing_new(strava: StravaStandIn, engine: Engine) -> None:
    list(import_summaries(strava.sync(engine), [JUNE]))
    edited = dict(strava.activities[1]) | {"name": "For a moment"}

    class Overtaken(StravaStandIn):
        """Asked while the title was another one; it is as before when a backfill looks, and then the answer comes."""

        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            if path == "/activities/1":
                list(import_summaries(strava.sync(engine), [JUNE]))
                return edited
            return strava.get(athlete_id, path, query, **more)

    store(engine, 1, aspect_type="update")
    with pytest.raises(RetriableStravaError):
        sync_activity(Overtaken().sync(engine), claim_one(engine))
    assert stored(engine) == {1: "Ride 1"}


def test_an_answer_from_before_the_deletion_does_not_bring_the_activity_back(
    strava: StravaStandIn, engine: Engine
) -> None:
    announce(strava, engine, "create")
    body = dict(strava.activities[1])

    class Overtaken(StravaStandIn):
        """While its answer is on the way, the activity is deleted, and a backfill notices."""

        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            if path == "/activities/1":
                strava.delete(1)
                list(import_summaries(strava.sync(engine), [JUNE]))
                return body
            return strava.get(athlete_id, path, query, **more)

    store(engine, 1, aspect_type="update")
    claim = claim_one(engine)
    with pytest.raises(RetriableStravaError, match="was changed while it was fetched"):
        sync_activity(Overtaken().sync(engine), claim)
    assert stored(engine) == {}
    sync_activity(strava.sync(engine), claim)
    assert states(engine) == ["done", "done"]


def test_an_activity_that_is_there_again_comes_back(strava: StravaStandIn, engine: Engine) -> None:
    announce(strava, engine, "create")
    body = strava.activities[1]
    strava.delete(1)
    announce(strava, engine, "delete")
    assert stored(engine) == {}
    strava.activities[1] = body
    announce(strava, engine, "create")
    assert stored(engine) == {1: "Ride 1"}
    with engine.connect() as connection:
        assert connection.execute(select(tombstones)).all() == []


def test_a_creation_after_the_deletion_is_waited_for(strava: StravaStandIn, engine: Engine) -> None:
    """As of an activity that was private for a while: Strava calls that a deletion."""
    announce(strava, engine, "create")
    body = strava.activities.pop(1)
    announce(strava, engine, "delete")
    with pytest.raises(NotThereYet):
        announce(strava, engine, "create", event_time=datetime.now(UTC) + timedelta(minutes=5))
    assert states(engine)[-1] == "launched"
    strava.activities[1] = body
    change(engine, lease_until=LONG_AGO)
    sync_activity(strava.sync(engine), claim_one(engine))
    assert stored(engine) == {1: "Ride 1"}


def test_what_is_gone_for_one_athlete_is_not_gone_for_another(strava: StravaStandIn, engine: Engine) -> None:
    """Anyone may be told to have deleted what is somebody else's, and not yet there."""
    connect_riders(engine, 1002)
    strava.delete(1)
    announce(strava, engine, "delete", owner_id=1002)
    with pytest.raises(NotThereYet):
        announce(strava, engine, "create")


def test_a_deletion_that_strava_does_not_confirm_renews_the_activity(strava: StravaStandIn, engine: Engine) -> None:
    announce(strava, engine, "create")
    strava.edit(1, name="Still there")
    announce(strava, engine, "delete")
    assert stored(engine) == {1: "Still there"}


@pytest.mark.parametrize("status", [500, 404])
def test_a_fault_that_is_not_stravas_is_no_proof_of_a_deletion(
    strava: StravaStandIn, engine: Engine, status: int
) -> None:
    announce(strava, engine, "create")
    strava.faults["/activities/1"] = [RetriableStravaError("a page of HTML", status=status, answered=False)]
    with pytest.raises(RetriableStravaError):
        announce(strava, engine, "delete")
    assert stored(engine) == {1: "Ride 1"}


def test_streams_that_are_missing_do_not_remove_an_activity(strava: StravaStandIn, engine: Engine) -> None:
    gone = NotFound(
        "GET /activities/1/streams", status=404, fault=StravaFault("Resource Not Found", (FaultDetail("Activity"),))
    )
    strava.faults["/activities/1/streams"] = [gone]
    with pytest.raises(NotThereYet) as caught:
        announce(strava, engine, "create")
    assert caught.value.waiting_for == WaitingFor.STREAMS
    assert stored(engine) == {1: "Ride 1"}


def test_what_was_entered_by_hand_costs_no_request_for_samples(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, manual=True)
    announce(strava, engine, "create")
    assert strava.new_requests() == ["/activities/1"]
    assert states(engine) == ["done"]


class TestSignedUpdates:
    """What an event says completely needs no request."""

    @pytest.fixture(autouse=True)
    def imported(self, strava: StravaStandIn, engine: Engine) -> None:
        announce(strava, engine, "create")
        with engine.begin() as connection:
            # As if it had been imported in June.
            for table in (activities, payloads):
                connection.execute(table.update().values(fetched_at=AT))
        strava.new_requests()

    def told(self, strava: StravaStandIn, engine: Engine, updates: dict[str, str], **more: Any) -> list[str]:
        """The requests that an update costs."""
        announce(strava, engine, "update", updates=updates, **({"event_time": AT + timedelta(days=1)} | more))
        assert states(engine)[-1] == "done"
        return strava.new_requests()

    def test_a_new_title_is_applied(self, strava: StravaStandIn, engine: Engine) -> None:
        assert self.told(strava, engine, {"title": "Evening"}) == []
        assert stored(engine) == {1: "Evening"}
        with engine.connect() as connection:
            assert connection.execute(select(payloads.c.body)).scalar_one()["name"] == "Evening"

    def test_a_private_activity_is_marked_as_such(self, strava: StravaStandIn, engine: Engine) -> None:
        assert self.told(strava, engine, {"private": "true", "title": "Mine"}) == []
        with engine.connect() as connection:
            row = connection.execute(select(activities)).one()
        assert (row.private, row.visibility, row.name) == (True, "only_me", "Mine")

    @pytest.mark.parametrize(
        ("updates", "more"),
        [
            ({"title": "Evening"}, {"signed": False}),
            ({"private": "false"}, {}),
            ({"type": "Run"}, {}),
            ({"title": "Evening", "weather": "rain"}, {}),
            ({}, {}),
            ({"title": "Too close"}, {"event_time": AT + timedelta(seconds=30)}),
            ({"title": "Older than the answer"}, {"event_time": AT - timedelta(hours=1)}),
        ],
    )
    def test_anything_else_is_asked_for(
        self, strava: StravaStandIn, engine: Engine, updates: dict[str, str], more: dict[str, Any]
    ) -> None:
        assert self.told(strava, engine, updates, **more) == ["/activities/1"]
        assert stored(engine) == {1: "Ride 1"}

    def test_privacy_is_asked_for_where_private_activities_are_not_shown(
        self, strava: StravaStandIn, engine: Engine
    ) -> None:
        from strava_pipeline.warehouse.schema.grant_tables import users  # noqa: PLC0415  only here

        with engine.begin() as connection:
            connection.execute(users.update().values(scopes=["read", "activity:read"]))
        assert self.told(strava, engine, {"private": "true"}) == ["/activities/1"]

    def test_a_delayed_title_does_not_replace_a_newer_one(self, strava: StravaStandIn, engine: Engine) -> None:
        strava.edit(1, name="Second")
        assert self.told(strava, engine, {"title": "Second"}, event_time=AT + timedelta(days=2)) == []
        assert self.told(strava, engine, {"title": "First"}) == ["/activities/1"]
        assert stored(engine) == {1: "Second"}

    def test_of_several_titles_the_last_one_counts(self, strava: StravaStandIn, engine: Engine) -> None:
        for minute, title in ((3, "Third"), (1, "First"), (2, "Second")):
            at = AT + timedelta(days=1, minutes=minute)
            store(engine, 1, aspect_type="update", updates={"title": title}, event_time=at)
        sync_activity(strava.sync(engine), claim_one(engine))
        assert strava.new_requests() == []
        assert stored(engine) == {1: "Third"}

    def test_two_titles_of_one_second_are_asked_for(self, strava: StravaStandIn, engine: Engine) -> None:
        for title in ("One", "Other"):
            at = AT + timedelta(days=1)
            store(engine, 1, aspect_type="update", updates={"title": title}, event_time=at)
        sync_activity(strava.sync(engine), claim_one(engine))
        assert strava.new_requests() == ["/activities/1"]


def test_a_thousand_updates_of_one_activity_are_one_request(strava: StravaStandIn, engine: Engine) -> None:
    store(engine, *[1] * 1000, aspect_type="update", signed=False)
    (claim,) = claim_objects(engine, 10)
    assert isinstance(claim, Claim)
    sync_activity(strava.sync(engine), claim)
    assert strava.new_requests() == ["/activities/1", "/activities/1/streams"]
    assert set(states(engine)) == {"done"}
