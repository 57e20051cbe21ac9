"""Whatever happens at Strava and to its runs: an import ends with nothing lacking, in tables equal to Strava."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.wishes import pause, resume
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.wish_tables import histories as listed_histories
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import PausedBy
from strava_pipeline_tests.histories import HistoryTables, histories
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.test_month_is_stravas_truth import Action, World, edits, numbers
from strava_pipeline_tests.wishes import change, lacks, launch, wish_for

FLOOR = date(2025, 4, 1)
MOST_RUNS = 30
HOOKS = ImportHooks(lambda _: None, lambda _, __: None, lambda _: pytest.fail("no lake was asked for"))

actions = st.one_of(
    st.tuples(st.just("create"), numbers, st.sampled_from(range(3)), st.booleans()),
    st.tuples(st.just("edit"), numbers, edits),
    st.tuples(st.just("crop"), numbers, st.integers(1, 5)),
    st.tuples(st.sampled_from(["delete", "hide", "show"]), numbers),
    st.tuples(st.just("webhook"), numbers, st.sampled_from(["create", "update", "delete"])),
    # A run that dies with one of its next requests, or ends well.
    st.tuples(st.just("run"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["pause", "resume", "ask"])),
)
# It dies after the listing was read, and before it was noted: what was deleted meanwhile is found all the same.
DIES_LISTING: list[Action] = [("run", 6), ("run", 1), ("delete", 1)]


class Imported(World):
    """A world whose tables an import fills."""

    def do(self, action: Action) -> None:
        what, *more = action
        if what == "run":
            with suppress(SystemExit):
                self.run(dies_at=more[0])
        elif what == "ask":
            wish_for(self.engine)
        elif what in {"pause", "resume"}:
            with self.engine.begin() as connection:
                pause(connection, RIDER, PausedBy.COMMAND) if what == "pause" else resume(connection, RIDER)
        else:
            super().do(action)

    def run(self, dies_at: int | None = None) -> bool:
        """One run of the import, if one is due; after a run that died, the time in which it is lost has passed."""
        change(self.engine, state="due", lease_until=None, next_at=LONG_AGO)
        found = launch(self.engine, FLOOR)
        if found is None:
            return False
        task = runs.begin(self.engine, found, "a run", FLOOR)
        assert task is not None
        sync, real, asked = self.strava.sync(self.engine), self.strava.get, 0

        def get(*args: Any, **more: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == dies_at:
                raise SystemExit
            return real(*args, **more)

        self.strava.get = get  # type: ignore[method-assign]
        try:
            work_on_import(sync, task, FLOOR, HOOKS)
        finally:
            self.strava.get = real  # type: ignore[method-assign]
        return True

    def finish(self) -> None:
        """Run until nothing is due."""
        with self.engine.begin() as connection:
            resume(connection, RIDER)
        for _ in range(MOST_RUNS):
            if not self.run():
                return
        raise AssertionError("the import never ends")


@pytest.fixture
def tables(engine: Engine, owner_engine: Engine) -> HistoryTables:
    connect_riders(engine, RIDER)
    return HistoryTables(engine, owner_engine)


def empty(tables: HistoryTables, engine: Engine) -> None:
    tables.empty()
    with engine.begin() as connection:
        for table in (imports, import_months, failed_months, listed_histories):
            connection.execute(delete(table))


@histories(15)
@example(history=DIES_LISTING)
@given(history=st.lists(actions, min_size=3, max_size=12))
def test_an_import_ends_in_tables_equal_to_strava(engine: Engine, tables: HistoryTables, history: list[Action]) -> None:
    empty(tables, engine)
    world = Imported(engine)
    wish_for(engine)
    for action in [("create", 1, 2, False), *history]:
        world.do(action)
    # What was edited since the listing is found by the next one.
    import_id = wish_for(engine)
    world.finish()
    assert lacks(engine, import_id, FLOOR).nothing
    told = {number: (body["name"], body["distance"]) for number, body in world.strava.activities.items()}
    ours = world.tables()
    assert {row["id"]: (row["name"], row["distance"]) for row in ours[activities.name]} == told
    empty(tables, engine)
    wish_for(engine)
    world.finish()
    for name, rows in world.tables().items():
        assert ours[name] == rows, name
