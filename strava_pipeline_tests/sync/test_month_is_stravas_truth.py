"""Whatever happened at Strava, and however much of it was seen meanwhile: a backfill ends in tables equal to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import COUNTERS
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.webhook import NotThereYet
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.histories import ACTIVITY_TABLES, HistoryTables, contents, histories
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.month_counts import counts_after_a_check, counts_of_everything
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed, stream_body

NUMBERS = (1, 2, 3)
MONTHS = tuple(
    Span(RIDER, datetime(2025, month, 1, tzinfo=UTC), datetime(2025, month + 1, 1, tzinfo=UTC)) for month in (4, 5, 6)
)

# When an answer was asked for, and a figure computed, is no part of what Strava has.
TIMES = {"fetched_at", "streams_fetched_at", "analysed_at", "computed_at", "mapped_at"}
Action = tuple[Any, ...]
# Edits that are taken back between two listings are noticed in what listing and detail tell alike.
UNDOABLE = ("name", "sport_type", "type", "start_date", "gear_id")

numbers = st.sampled_from(NUMBERS)
spans = st.lists(st.sampled_from(range(len(MONTHS))), min_size=1, max_size=3, unique=True)
edits = st.sampled_from(
    [
        {"name": "Another title"},
        {"name": "A third title"},
        {"sport_type": "Run", "type": "Run"},
        {"distance": 900},
        {"private": True, "visibility": "only_me"},
        {"commute": True},
        {"kudos_count": 7},
        {"kudos_count": 2, "comment_count": 1},
        {"gear_id": "b1"},
    ]
)
actions = st.one_of(
    # Uploads come late: an activity of any month may appear at any time.
    st.tuples(st.just("create"), numbers, st.sampled_from(range(len(MONTHS))), st.booleans()),
    st.tuples(st.just("edit"), numbers, edits),
    st.tuples(st.just("crop"), numbers, st.integers(1, 5)),
    st.tuples(st.just("move"), numbers, st.sampled_from(range(len(MONTHS)))),
    st.tuples(st.sampled_from(["delete", "hide", "show", "undo", "differ"]), numbers),
    st.tuples(st.sampled_from(["list", "details", "streams", "backfill"]), spans),
    st.tuples(st.just("webhook"), numbers, st.sampled_from(["create", "update", "delete"])),
    # The next answer cannot be stored: the activity is put aside.
    st.tuples(st.just("refuse"), numbers, st.sampled_from(["", "/streams"])),
)
# Edited between listing and detail, and back before the next listing.
UNDONE: list[Action] = [("list", [2]), ("edit", 1, {"name": "Another title"}), ("details", [2]), ("undo", 1)]
UNDONE_GEAR: list[Action] = [("list", [2]), ("edit", 1, {"gear_id": "b1"}), ("details", [2]), ("undo", 1)]
# Edited after the detail came, and back before the next listing: no answer tells of it.
UNDONE_UNSEEN: list[Action] = [("backfill", [2]), ("edit", 1, {"gear_id": "b1"}), ("undo", 1)]
# Streams fetched between one crop and the next, of which no listing told yet.
CROPPED: list[Action] = [("list", [2]), ("crop", 1, 5), ("streams", [2]), ("crop", 1, 3)]
# List and detail tell different lengths: from the first listing on, after a detail that a webhook brought, and later.
TWO_LENGTHS: list[Action] = [("differ", 1), ("backfill", [2]), ("edit", 1, {"name": "Another title"}), ("crop", 1, 3)]
TWO_LENGTHS_LATER: list[Action] = [("webhook", 1, "create"), ("backfill", [2]), ("differ", 1), ("webhook", 1, "update")]
# Liked after the detail came, which no edit follows: at first no listing has told of it, then one has.
LIKED: list[Action] = [("webhook", 1, "create"), ("edit", 1, {"kudos_count": 7})]
LIKED_WHEN_LISTED: list[Action] = [("backfill", [2]), ("edit", 1, {"kudos_count": 7})]


class World:
    """Strava, the tables, and what is hidden from the app."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.strava = StravaStandIn()
        self.hidden: dict[int, dict[str, Any]] = {}
        self.before: dict[int, dict[str, Any]] = {}
        self.used: set[int] = set()
        self.differing: set[int] = set()

    def do(self, action: Action) -> None:
        """One action; nothing where it makes no sense."""
        what, *more = action
        if what in {"list", "details", "streams", "backfill"}:
            self.bring(what, [MONTHS[number] for number in more[0]])
        elif what == "webhook":
            with suppress(NotThereYet, RejectedRequest):
                bring_up_to_date(self.strava.sync(self.engine), RIDER, more[0], more[1])
        elif what == "create":
            self.create(*more)
        elif what == "refuse":
            self.strava.faults[f"/activities/{more[0]}{more[1]}"] = [RejectedRequest("odd")]
        elif what == "differ":
            self.differing.add(more[0])
        elif what == "show":
            self.strava.activities |= {number: self.hidden.pop(number) for number in more if number in self.hidden}
        elif more[0] in self.strava.activities:
            self.change(what, *more)

    def create(self, number: int, month: int, manual: bool) -> None:
        # Strava gives an id once.
        if number not in self.used:
            self.used.add(number)
            # Strava always names the gear, also none: a detail from before an edit equals one from after its undo.
            start = MONTHS[month].start + timedelta(days=number)
            body = self.strava.add(number, start, manual=manual, gear_id=None)
            self.record(body)

    def record(self, body: dict[str, Any]) -> None:
        """As many samples as the recording is long: a crop changes them."""
        self.strava.streams[body["id"]] = {} if body["manual"] else stream_body(2 + body["elapsed_time"] % 50)

    def change(self, what: str, number: int, *more: Any) -> None:
        body = self.strava.activities[number]
        changes: dict[str, Any] = {}
        if what == "edit":
            changes = more[0]
        elif what == "undo":
            changes = {name: self.before[number].get(name) for name in UNDOABLE} if number in self.before else {}
        elif what == "crop" and not body["manual"]:
            # What was cut off does not come back.
            changes = {"elapsed_time": body["elapsed_time"] - more[0]}
        elif what == "move":
            changes = {"start_date": f"{MONTHS[more[0]].start + timedelta(days=20):%Y-%m-%dT%H:%M:%SZ}"}
        self.before[number] = body
        self.strava.activities[number] = body | changes
        self.record(self.strava.activities[number])
        if what in {"delete", "hide"}:
            gone = self.strava.activities.pop(number)
            self.hidden |= {number: gone} if what == "hide" else {}

    def bring(self, step: str, months: Sequence[Span]) -> None:
        self.strava.listed_unlike = {
            number: {"elapsed_time": body["elapsed_time"] + 1, "commute": body.get("commute"), "total_photo_count": 3}
            for number, body in self.strava.activities.items()
            if number in self.differing
        }
        sync = self.strava.sync(self.engine)
        if step in {"list", "backfill"}:
            import_listed(sync, list(months), allow_mass_delete=True)
        for month in months:
            if step in {"details", "backfill"}:
                import_details(sync, month)
            if step in {"streams", "backfill"}:
                import_streams(sync, month)
                analyse_span(self.engine, month)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All rows about activities, without the times at which they came.

        Counters of a raw detail are those of when it was asked for: kudos call for no new one. The activity's row has
        what the listing told, and so it must after a re-map.
        """
        found = contents(self.engine, ACTIVITY_TABLES, without=TIMES)
        for row in found[payloads.name]:
            if row["kind"] == PayloadKind.DETAIL:
                row["body"] = {name: value for name, value in row["body"].items() if name not in COUNTERS}
        return found


@pytest.fixture
def tables(engine: Engine, owner_engine: Engine) -> HistoryTables:
    connect_riders(engine, RIDER)
    return HistoryTables(engine, owner_engine)


@histories(30)
@example(history=UNDONE)
@example(history=UNDONE_GEAR)
@example(history=UNDONE_UNSEEN)
@example(history=CROPPED)
@example(history=TWO_LENGTHS)
@example(history=TWO_LENGTHS_LATER)
@example(history=LIKED)
@example(history=LIKED_WHEN_LISTED)
@given(history=st.lists(actions, min_size=3, max_size=14))
def test_a_backfill_ends_in_tables_equal_to_strava(
    engine: Engine, tables: HistoryTables, history: list[Action]
) -> None:
    tables.empty()
    world = World(engine)
    for action in [("create", 1, 2, False), *history]:
        world.do(action)
        # What the checks tell is up to date after any change.
        assert counts_after_a_check(engine) == counts_of_everything(engine), action
    world.strava.faults.clear()
    world.bring("backfill", MONTHS)
    told = {number: (body["name"], body["distance"]) for number, body in world.strava.activities.items()}
    ours = world.tables()
    assert {row["id"]: (row["name"], row["distance"]) for row in ours[activities.name]} == told
    # The stored answers tell as much as the tables.
    assert [batch.odd for batch in remap(engine, before=datetime.now(UTC)) if batch.odd] == []
    remapped = world.tables()
    assert counts_after_a_check(engine) == counts_of_everything(engine)
    # The rest must be what an import into empty tables gives.
    tables.empty()
    world.bring("backfill", MONTHS)
    fresh = world.tables()
    for name, rows in fresh.items():
        assert ours[name] == rows, name
        assert remapped[name] == rows, f"{name}, re-mapped"
