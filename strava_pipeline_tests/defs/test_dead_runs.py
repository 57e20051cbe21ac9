"""Imports whose run died with its code server go on; those of a living one are left alone, whoever looks when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline.defs import dead_runs
from strava_pipeline.defs.jobs import imports as jobs
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.errors import ImportStopped
from strava_pipeline.import_runs import CANCELING_SECONDS, TAKE_UP_SECONDS, run_of
from strava_pipeline.settings import Settings
from strava_pipeline.sync.imports import work_on_import
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.launches import Fate, Launch, look_after
from strava_pipeline_tests.defs.conftest import LOOKS, Clock, CodeLocation
from strava_pipeline_tests.defs.import_jobs import launched, run, tick
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    PLAN,
    imports_every_five_minutes,
    loaded,
    newest_month,
    newest_months_every_five_minutes,
)
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import FLOOR, change, wish, wish_for

MINUTE = 60.0
GONE = "a process that has ended"


@pytest.fixture(autouse=True)
def rider(settings: Settings, engine: Engine) -> None:
    connect_riders(engine, RIDER)


def at_work(instance: dg.DagsterInstance, found: Launch, **more: str) -> str:
    """A run of a launch that holds a slot, as Dagster sees it while its worker works."""
    planned = run_of(NAMES, found)
    tags = dict(newest_month.run_tags) | dict(planned.tags) | more
    begun = instance.create_run_for_job(loaded(newest_month), run_config=dict(planned.run_config), tags=tags)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", newest_month.name), begun.run_id)
    set_up_pools(instance, NAMES, PLAN.pools())
    assert instance.event_log_storage.claim_concurrency_slot(NAMES.newest_pool, begun.run_id, "step")
    return begun.run_id


def begun(instance: dg.DagsterInstance, engine: Engine) -> tuple[Launch, str]:
    """A run that has taken up its launch, and works."""
    found = launched(engine)
    run_id = at_work(instance, found)
    assert runs.begin(engine, found, run_id, FLOOR) is not None
    return found, run_id


def status(instance: dg.DagsterInstance, run_id: str) -> str:
    known = instance.get_run_by_id(run_id)
    assert known is not None
    return known.status.value


def look(instance: dg.DagsterInstance, clock: Clock) -> None:
    """The next minute: two schedules tick in its first second."""
    clock.now += MINUTE
    tick(instance, imports_every_five_minutes)
    tick(instance, newest_months_every_five_minutes)


def test_a_run_that_died_is_ended_holds_no_slot_and_is_not_executed_again_by_dagster(
    persistent: dg.DagsterInstance, engine: Engine, clock: Clock
) -> None:
    wish_for(engine)
    _, run_id = begun(persistent, engine)
    change(engine, lease_until=LONG_AGO)
    for _ in range(LOOKS - 1):
        look(persistent, clock)
        assert status(persistent, run_id) == "STARTED"
    look(persistent, clock)
    assert status(persistent, run_id) == "FAILURE"
    assert run_id not in persistent.event_log_storage.get_concurrency_run_ids()
    # The import itself is launched again: two mechanisms would be two runs.
    ended = persistent.get_run_by_id(run_id)
    assert ended is not None
    assert ended.tags["dagster/will_retry"] == "false"


def test_an_import_whose_run_died_before_it_took_up_its_launch_is_due_again(
    persistent: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    run_id = at_work(persistent, found)
    (record,) = persistent.get_run_records()
    assert record.start_time is not None
    for passed, state in ((TAKE_UP_SECONDS - 1, "launched"), (TAKE_UP_SECONDS, "due")):
        at = record.start_time + passed
        monkeypatch.setattr(jobs, "time", SimpleNamespace(time=lambda at=at: at))
        change(engine, import_id, lease_until=LONG_AGO)
        tick(persistent, imports_every_five_minutes)
        assert wish(engine, import_id).state == state
    # One that lives after all, and is late, finds a newer launch.
    change(engine, import_id, next_at=LONG_AGO)
    assert launched(engine).launch_no == found.launch_no + 1
    with pytest.raises(ImportStopped, match="another run has it"):
        runs.begin(engine, found, run_id, FLOOR)


def test_a_run_that_is_about_to_end_ends_well(
    location: CodeLocation,
    persistent: dg.DagsterInstance,
    engine: Engine,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its import is due before Dagster knows of its end, and schedules may tick in between, also several at once."""
    wish_for(engine)

    def work(*given: Any) -> Any:
        outcome = work_on_import(*given)
        for _ in range(LOOKS - 1):
            look(persistent, clock)
        return outcome

    monkeypatch.setattr(jobs, "work_on_import", work)
    result = run(replace(location, instance=persistent), launched(engine))
    assert result.success
    (ended,) = persistent.get_runs()
    assert ended.status is dg.DagsterRunStatus.SUCCESS
    told = [entry.dagster_event.event_type_value for entry in persistent.all_logs(ended.run_id) if entry.dagster_event]
    assert [kind for kind in told if "FAILURE" in kind] == []


def test_a_living_run_takes_its_import_back_however_often_its_lease_lapses(
    persistent: dg.DagsterInstance, engine: Engine, clock: Clock
) -> None:
    """A database that is away for over a minute lets leases lapse; whoever looks after imports looks first."""
    import_id = wish_for(engine)
    found, run_id = begun(persistent, engine)
    for number in range(LOOKS):
        persistent.add_run_tags(run_id, {NAMES.beat_tag: str(number)})
        change(engine, import_id, lease_until=LONG_AGO)
        look_after(engine, lambda _: Fate.AT_WORK)  # the bridge does
        look(persistent, clock)
        assert wish(engine, import_id).state == "due"
        assert runs.extend(engine, found)
        look(persistent, clock)
    assert status(persistent, run_id) == "STARTED"
    assert wish(engine, import_id).state == "running"
    # No run was launched beside it.
    assert wish(engine, import_id).launch_no == found.launch_no


def test_a_canceled_run_whose_worker_died_pauses_its_import_and_is_ended(
    persistent: dg.DagsterInstance, engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing watches runs, Dagster waits for its end for ever."""
    import_id = wish_for(engine)
    _, run_id = begun(persistent, engine)
    known = persistent.get_run_by_id(run_id)
    assert known is not None
    persistent.report_run_canceling(known)
    tick(persistent, imports_every_five_minutes)
    (record,) = persistent.get_run_records()
    canceled_at = record.update_timestamp.timestamp()
    for passed, state, paused_by in ((CANCELING_SECONDS - 1, "running", None), (CANCELING_SECONDS, "due", "cancel")):
        at = canceled_at + passed
        monkeypatch.setattr(jobs, "time", SimpleNamespace(time=lambda at=at: at))
        change(engine, import_id, lease_until=LONG_AGO)
        tick(persistent, imports_every_five_minutes)
        stored = wish(engine, import_id)
        assert (stored.state, stored.paused_by) == (state, paused_by)
    for _ in range(LOOKS - 1):
        assert status(persistent, run_id) == "CANCELING"
        look(persistent, clock)
    assert status(persistent, run_id) == "CANCELED"
    assert run_id not in persistent.event_log_storage.get_concurrency_run_ids()


def test_a_run_that_is_executed_again_leaves_the_import_to_the_one_at_work(
    location: CodeLocation, engine: Engine
) -> None:
    import_id = wish_for(engine)
    found = launched(engine)
    assert runs.begin(engine, found, "the first run", FLOOR) is not None
    before = wish(engine, import_id)
    assert run(location, found).success
    assert location.strava.asked == []
    assert wish(engine, import_id) == before
    # Nor does it take an import that seems lost, which the first run may take back.
    change(engine, import_id, lease_until=LONG_AGO)
    look_after(engine, lambda _: Fate.AT_WORK)
    assert run(location, found).success
    assert location.strava.asked == []
    assert wish(engine, import_id).state == "due"
    assert wish(engine, import_id).next_at - before.next_at > timedelta(minutes=4)


def test_a_run_that_does_not_get_beyond_its_start_is_ended(
    persistent: dg.DagsterInstance, engine: Engine, clock: Clock
) -> None:
    wish_for(engine)
    planned = run_of(NAMES, launched(engine))
    tags = dict(newest_month.run_tags) | dict(planned.tags)
    begun = persistent.create_run_for_job(loaded(newest_month), run_config=dict(planned.run_config), tags=tags)
    persistent.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", newest_month.name), begun.run_id)
    for _ in range(LOOKS - 1):
        look(persistent, clock)
        assert status(persistent, begun.run_id) == "STARTING"
    look(persistent, clock)
    assert status(persistent, begun.run_id) == "FAILURE"


def test_a_run_that_is_executed_again_does_not_die_of_its_parents_tags(
    persistent: dg.DagsterInstance, engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish_for(engine)
    dead = at_work(persistent, launched(engine), **{NAMES.process_tag: GONE, NAMES.silent_tag: "9 1 7"})
    parent = persistent.get_run_by_id(dead)
    assert parent is not None
    again = persistent.create_run_for_job(
        loaded(newest_month), run_config=parent.run_config, tags=dict(parent.tags), parent_run_id=dead, root_run_id=dead
    )
    persistent.report_dagster_event(dg.DagsterEvent("PIPELINE_START", newest_month.name), again.run_id)
    monkeypatch.setattr(dead_runs, "is_gone", lambda tag: tag == GONE)
    look(persistent, clock)
    assert (status(persistent, dead), status(persistent, again.run_id)) == ("FAILURE", "STARTED")
    persistent.delete_run(dead)
    look(persistent, clock)
    assert status(persistent, again.run_id) == "STARTED"
