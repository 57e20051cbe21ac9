"""Runs of every job show that they live, and those that died with their code server are ended and hold no slot."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from strava_pipeline import process_identity
from strava_pipeline.defs import dead_runs, signs_of_life
from strava_pipeline.defs.dead_runs import end_dead_runs
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_process import process_tag
from strava_pipeline.names import Asset, Job, Names
from strava_pipeline.process_identity import is_gone
from strava_pipeline.settings import Settings
from strava_pipeline_tests.defs.conftest import LOOKS, Clock
from strava_pipeline_tests.defs.own_definitions import NAMES, PLAN, defs, step
from strava_pipeline_tests.eventually import eventually

MINUTE = 60.0
GONE = "a process that has ended"
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
ACTIVITIES, DETAILS = NAMES.asset_key(Asset.ACTIVITIES), NAMES.asset_key(Asset.DETAILS)
# Every job of the code location, which a test compares.
JOBS = (
    Job.WEBHOOK_SYNC,
    Job.NEWEST_MONTH,
    Job.IMPORT_HISTORY,
    Job.ARCHIVE_IMPORT,
    Job.FILES_IMPORT,
    Job.UPKEEP,
    Job.UPDATE_LAKE,
    Job.RUN_CHECKS,
    Job.RETENTION,
    Job.RUN_RETENTION,
    Job.REMAP,
    Job.SEND_NOTIFICATIONS,
)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        set_up_pools(instance, NAMES, PLAN.pools())
        yield instance


@cache
def a_job(name: str) -> dg.JobDefinition:
    found = defs()
    return (
        found.resolve_implicit_global_asset_job_def() if name == Job.ASSETS else found.resolve_job_def(NAMES.job(name))
    )


def at_work(instance: dg.DagsterInstance, job: dg.JobDefinition, assets: tuple[str, ...] = ()) -> str:
    """A run as Dagster sees it while it is at work: it holds a slot."""
    chosen = frozenset(map(dg.AssetKey.from_user_string, assets)) or None
    run = instance.add_run(dg.DagsterRun(job.name, tags=job.run_tags, asset_selection=chosen))
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", job.name), run.run_id)
    assert instance.event_log_storage.claim_concurrency_slot(NAMES.pool, run.run_id, "step").is_claimed
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    known = instance.get_run_by_id(run_id)
    assert known is not None
    return known.status


def holds_slot(instance: dg.DagsterInstance, run_id: str) -> bool:
    return run_id in instance.event_log_storage.get_concurrency_run_ids()


def look(
    instance: dg.DagsterInstance, clock: Clock, *, after: float = MINUTE, times: int = 1, is_own: bool = True
) -> None:
    """Look several times, as schedules do; several of them tick at once."""
    for _ in range(times):
        clock.now += after
        end_dead_runs(instance, NAMES, is_own=is_own)
        end_dead_runs(instance, NAMES, is_own=is_own)


def beat(instance: dg.DagsterInstance, run_id: str, number: int) -> None:
    instance.add_run_tags(run_id, {NAMES.beat_tag: str(number)})


def test_these_are_all_jobs(settings: Settings) -> None:
    assert {job.name for job in defs().jobs or ()} == set(map(NAMES.job, JOBS))


@pytest.mark.parametrize("name", JOBS)
def test_a_run_of_any_job_that_died_before_its_first_step_is_ended(
    instance: dg.DagsterInstance, clock: Clock, name: str
) -> None:
    run_id = at_work(instance, a_job(name))
    look(instance, clock, times=LOOKS - 1)
    assert status(instance, run_id) is STARTED
    look(instance, clock)
    assert (status(instance, run_id), holds_slot(instance, run_id)) == (FAILURE, False)


def test_months_started_in_the_ui_that_died_give_their_slots_back(instance: dg.DagsterInstance, clock: Clock) -> None:
    job = a_job(Job.ASSETS)
    months = [at_work(instance, job, (ACTIVITIES, DETAILS)) for _ in range(4)]
    # Two died at work.
    for run_id in months[2:]:
        beat(instance, run_id, 7)
        instance.report_dagster_event(dg.DagsterEvent("STEP_START", job.name, step_key=step(Asset.ACTIVITIES)), run_id)
    look(instance, clock, times=LOOKS)
    assert {status(instance, run_id) for run_id in months} == {FAILURE}
    assert not any(holds_slot(instance, run_id) for run_id in months)


def test_a_run_that_goes_on_showing_life_is_never_ended(instance: dg.DagsterInstance, clock: Clock) -> None:
    run_id = at_work(instance, a_job(Job.WEBHOOK_SYNC))
    for number in range(4 * LOOKS):
        # Late by almost the whole patience, as after a database that was away.
        look(instance, clock, times=LOOKS - 1)
        beat(instance, run_id, number)
    assert status(instance, run_id) is STARTED


def test_runs_of_others_and_of_an_earlier_release_are_left_alone(instance: dg.DagsterInstance, clock: Clock) -> None:
    @dg.job
    def retention() -> None:
        """Another code location's job of the same name."""

    assets = a_job(Job.ASSETS)
    theirs = at_work(instance, retention)
    mixed = at_work(instance, assets, (ACTIVITIES, "their_asset"))
    earlier = at_work(instance, assets, (ACTIVITIES,))
    instance.report_dagster_event(dg.DagsterEvent("STEP_START", assets.name, step_key=step(Asset.ACTIVITIES)), earlier)
    look(instance, clock, times=4 * LOOKS)
    assert [status(instance, run_id) for run_id in (theirs, mixed, earlier)] == [STARTED] * 3


def test_as_a_guest_only_runs_of_our_jobs_are_ended(
    instance: dg.DagsterInstance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's executor may give each step of our assets a process of its own, which ends before the run does."""

    @dg.job(resource_defs={"strava_warehouse": WarehouseResource()})
    def host_job() -> None:
        """A host's job that uses our resource."""

    assets = a_job(Job.ASSETS)
    ours = at_work(instance, a_job(Job.UPKEEP))
    theirs = [at_work(instance, host_job), at_work(instance, assets, (ACTIVITIES, DETAILS))]
    for run_id in theirs:
        # As a deployment of our own, with the same Dagster, had left them.
        instance.add_run_tags(run_id, {NAMES.process_tag: GONE, NAMES.beat_tag: "1"})
    monkeypatch.setattr(dead_runs, "is_gone", lambda tag: tag == GONE)
    look(instance, clock, times=4 * LOOKS, is_own=False)
    assert status(instance, ours) is FAILURE
    assert [status(instance, run_id) for run_id in theirs] == [STARTED] * 2
    for run_id in theirs:
        known = instance.get_run_by_id(run_id)
        assert known is not None
        assert NAMES.silent_tag not in known.tags


def test_a_run_that_a_hosts_launcher_has_not_begun_yet_is_left_to_the_host(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    job = a_job(Job.UPKEEP)
    run = instance.create_run_for_job(job, tags=dict(job.run_tags))
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", job.name), run.run_id)
    look(instance, clock, times=4 * LOOKS, is_own=False)
    assert status(instance, run.run_id) is dg.DagsterRunStatus.STARTING
    look(instance, clock, times=LOOKS)
    assert status(instance, run.run_id) is FAILURE


def test_runs_of_a_version_without_prefix_that_died_hold_no_slot(instance: dg.DagsterInstance, clock: Clock) -> None:
    """They died when that version was stopped, and their pools are still ours."""

    @dg.job(tags={NAMES.lane_tag: "backfill"})
    def newest_month() -> None:
        """As that version named it."""

    @dg.job(tags={"strava/job": "upkeep"})
    def upkeep() -> None:
        """As that version named it."""

    months = at_work(instance, a_job(Job.ASSETS), (Asset.ACTIVITIES, Asset.DETAILS))
    runs = [at_work(instance, newest_month), at_work(instance, upkeep), months]
    look(instance, clock, times=4 * LOOKS, is_own=False)
    assert [status(instance, run_id) for run_id in runs] == [STARTED] * 3, "a host may have names like these"
    look(instance, clock, times=LOOKS)
    assert [status(instance, run_id) for run_id in runs] == [FAILURE] * 3
    assert not any(holds_slot(instance, run_id) for run_id in runs)


def test_looks_that_come_at_once_count_as_one(instance: dg.DagsterInstance, clock: Clock) -> None:
    """After a halt Dagster catches up with the minutes that it missed; a machine that slept missed many."""
    run_id = at_work(instance, a_job(Job.WEBHOOK_SYNC))
    look(instance, clock)
    look(instance, clock, after=24 * 3600)
    look(instance, clock, after=1, times=2 * LOOKS)
    assert status(instance, run_id) is STARTED


def test_a_clock_that_was_set_back_holds_up_no_look(instance: dg.DagsterInstance, clock: Clock) -> None:
    run_id = at_work(instance, a_job(Job.WEBHOOK_SYNC))
    look(instance, clock)
    look(instance, clock, after=-24 * 3600)
    look(instance, clock, times=LOOKS - 2)
    assert status(instance, run_id) is FAILURE


@pytest.mark.parametrize("tag", ["", "10", "10 x", "x 10", "-1 5", "\u0663 \u00b2"])
def test_a_tag_that_somebody_else_wrote_counts_no_look(instance: dg.DagsterInstance, clock: Clock, tag: str) -> None:
    run_id = at_work(instance, a_job(Job.WEBHOOK_SYNC))
    instance.add_run_tags(run_id, {NAMES.silent_tag: tag})
    look(instance, clock)
    known = instance.get_run_by_id(run_id)
    assert known is not None
    assert (known.status, known.tags[NAMES.silent_tag]) == (STARTED, f"1 {clock.now:.0f} ")


def test_a_canceled_run_whose_process_died_ends_as_canceled(instance: dg.DagsterInstance, clock: Clock) -> None:
    run_id = at_work(instance, a_job(Job.WEBHOOK_SYNC))
    known = instance.get_run_by_id(run_id)
    assert known is not None
    instance.report_run_canceling(known)
    look(instance, clock, times=LOOKS)
    assert status(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_a_run_that_ends_while_it_is_looked_at_ends_well(
    instance: dg.DagsterInstance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone after it has written that the run succeeded."""
    job = a_job(Job.WEBHOOK_SYNC)
    run_id = at_work(instance, job)

    def ends(_tag: str) -> bool:
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", job.name), run_id)
        return True

    monkeypatch.setattr(dead_runs, "is_gone", ends)
    assert end_dead_runs(instance, NAMES, is_own=True) == 0
    assert status(instance, run_id) is dg.DagsterRunStatus.SUCCESS


def tags_of(instance: dg.DagsterInstance, *, is_own: bool, **tags: str) -> dict[str, str]:
    """The tags that a run of a job with our resource has, as its step sees them."""
    seen: list[dict[str, str]] = []

    @dg.op
    def work(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
        run = context.instance.get_run_by_id(context.run_id)
        assert run is not None
        seen.append(dict(run.tags))

    @dg.job(resource_defs={"strava_warehouse": WarehouseResource(is_own=is_own)})
    def some_job() -> None:
        work()

    assert some_job.execute_in_process(instance=instance, tags=tags).success
    return seen[0]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("is_own", [True, False])
def test_a_run_of_ours_shows_its_process_before_its_first_step(instance: dg.DagsterInstance, *, is_own: bool) -> None:
    tags = NAMES.job_tags(Job.UPKEEP)
    assert tags_of(instance, is_own=is_own, **tags) == tags | process_tag(NAMES) | {NAMES.beat_tag: "1"}


@pytest.mark.usefixtures("engine")
def test_a_run_of_a_host_with_our_resource_gets_no_tag(instance: dg.DagsterInstance) -> None:
    assert tags_of(instance, is_own=False) == {}
    theirs = Names(("theirs",)).job_tags(Job.UPKEEP)
    assert tags_of(instance, is_own=False, **theirs) == theirs


def test_a_run_goes_on_showing_life_after_a_fault_of_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", 0.01)
    shown: list[str] = []

    def add_run_tags(_run_id: str, tags: dict[str, str]) -> None:
        shown.append(tags[NAMES.beat_tag])
        if len(shown) < 3:
            raise OSError("the disk is full")

    storage = SimpleNamespace(add_run_tags=add_run_tags)
    run = dg.DagsterRun("upkeep", tags=NAMES.job_tags(Job.UPKEEP))
    context: Any = SimpleNamespace(instance=storage, run=run)
    with signs_of_life.showing_life(context, NAMES, is_own=True):
        eventually(lambda: len(shown) > 3, "signs after the fault", 60)
    assert shown[:4] == ["1", "2", "3", "4"]


def test_a_process_of_another_machine_container_or_start_of_the_machine_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, _, rest = process_tag(NAMES)[NAMES.process_tag].partition(" ")
    assert not is_gone(f"{here} {rest}")
    assert is_gone(f"{here} {os.getpid()} 1")
    assert not is_gone(f"{here}x {os.getpid()} 1")
    assert not any(map(is_gone, ("", here, f"{here} ", f"{here} x 1", f"{here} -1 1")))
    # Linux can hide processes of other logins.
    monkeypatch.setattr(process_identity, "_PROC", Path("/nonexistent"))
    assert not is_gone(f"{here} {os.getpid()} 1")


def test_where_the_start_of_the_machine_cannot_be_read_no_process_is_gone_for_certain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_identity, "_BOOT", tmp_path)
    process_identity._here.cache_clear()
    try:
        first = process_identity.this_process()
        process_identity._here.cache_clear()  # as another process has it
        assert not is_gone(f"{first}0")
    finally:
        process_identity._here.cache_clear()


def test_a_process_that_linux_does_not_show_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"{process_identity.this_process()}0"
    assert is_gone(named)

    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as here:
        here.setattr(Path, "read_text", refuse)
        assert not is_gone(named)
