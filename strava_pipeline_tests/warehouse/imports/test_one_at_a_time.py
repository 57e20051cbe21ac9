"""Who changes several imports of an athlete does so alone, and waits for whoever holds one: nobody deadlocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import Connection, Engine, select

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure_within
from strava_pipeline.warehouse.imports.edited_months import import_edited
from strava_pipeline.warehouse.imports.wishes import (
    ask_for_rest,
    lock_imports,
    make_import,
    pause,
    pause_one,
    poke,
    resume,
)
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.wishes import STEPS, wish_for

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)
Change = Callable[[Connection], object]


def ask(connection: Connection) -> None:
    make_import(connection, RIDER, MAY, MAY, STEPS, profile=False, by=MadeBy.COMMAND)


# Everybody who changes more than one row of ``ops.imports``.
CHANGES: dict[str, Change] = {
    "ask": ask,
    "ask for the rest": lambda connection: ask_for_rest(connection, RIDER, MAY, MAY, [ImportStep.DETAIL], LONG_AGO),
    "import what was edited": lambda connection: import_edited(connection, RIDER, [MAY, JUNE]),
    "pause": lambda connection: pause(connection, RIDER, PausedBy.OPERATOR),
    "pause one": lambda connection: pause_one(connection, RIDER, 1, PausedBy.CANCEL),
    "poke": lambda connection: poke(connection, RIDER),
    "resume": lambda connection: resume(connection, RIDER),
    "erase": lambda connection: begin_erasure_within(
        connection, RIDER, keep_data=False, actor=Actor.STRAVA, cause="deauthorized"
    ),
}


class Meeting:
    """Threads that each change imports in a transaction of their own; ``ended``: what each one met, in words."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ended: list[str] = []
        self._threads: list[threading.Thread] = []

    def comes_and_waits(self, change: Change) -> None:
        """Begin a change, which waits for somebody's lock, as all before it do."""
        self._threads.append(threading.Thread(target=self._change, args=(change,)))
        self._threads[-1].start()
        wait_for_a_lock(self.engine, len(self._threads))

    def end(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
            thread.join()

    def _change(self, change: Change) -> None:
        try:
            with self.engine.begin() as connection:
                change(connection)
            self.ended.append("done")
        except DatabaseUnavailable as error:
            self.ended.append(str(error))


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_at_a_time_changes_several_imports(engine: Engine, change: Change) -> None:
    wish_for(engine)
    meeting = Meeting(engine)
    with engine.begin() as connection:
        lock_imports(connection, RIDER)
        meeting.comes_and_waits(change)
    meeting.end()
    assert meeting.ended == ["done"]


@pytest.mark.parametrize("second", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", ["pause", "poke"])
def test_nobody_deadlocks_while_a_run_holds_its_row(engine: Engine, first: str, second: Change) -> None:
    held = wish_for(engine)
    ours = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    assert held < ours
    meeting = Meeting(engine)
    with engine.begin() as connection:
        connection.execute(select(imports.c.id).where(imports.c.id == held).with_for_update()).all()
        meeting.comes_and_waits(CHANGES[first])
        meeting.comes_and_waits(second)
    meeting.end()
    assert meeting.ended == ["done", "done"]
