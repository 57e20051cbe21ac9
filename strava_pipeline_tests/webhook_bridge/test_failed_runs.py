"""Failed runs of ours, found through Dagster's real GraphQL: told once, with whose, which months, why and where."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from sqlalchemy import Engine, Row, func, select, update

from strava_pipeline.names import Job, Names
from strava_pipeline.our_runs import DEAD_EVENTS
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.failed_run_tables import failed_runs
from strava_pipeline_tests.dagster_graphql_server import dagster_graphql
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.placed import placed
from strava_pipeline_tests.strava.loopback import Loopback
from webhook_bridge import failed_run_queries
from webhook_bridge import failed_runs as thread_module
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.failed_runs import FailedRuns

# Dagster starts processes for the output of each run.
pytestmark = pytest.mark.processes
NAMES = Names()
UPKEEP = NAMES.job_tags(Job.UPKEEP)


@dg.op
def fails() -> None:
    raise ValueError("no answer to access_token=canary-1\nand a second line") from KeyError("inner")


@dg.op
def fails_for_good() -> None:
    raise dg.Failure(description="athlete 1001, 2024-05: out of quota", allow_retries=False)


@dg.op
def gives_events_up() -> None:
    raise dg.Failure(description="no", metadata={DEAD_EVENTS: 2}, allow_retries=False)


@dg.job(name="strava_import_history", tags=NAMES.job_tags(Job.IMPORT_HISTORY))
def import_history() -> None:
    fails_for_good()


@dg.job(name="strava_upkeep", tags=UPKEEP)
def upkeep() -> None:
    fails()


@dg.job(name="strava_webhook_sync", tags=NAMES.job_tags(Job.WEBHOOK_SYNC))
def webhook_sync() -> None:
    gives_events_up()


@dg.job(name="strava_webhook_sync", tags=NAMES.job_tags(Job.WEBHOOK_SYNC))
def broken_sync() -> None:
    fails()


@dg.job(name="other_upkeep", tags=Names(("other",)).job_tags(Job.UPKEEP))
def of_another_app() -> None:
    fails()


@dg.job
def of_a_host() -> None:
    fails()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """With the run retries of our ``dagster.yaml``."""
    overrides = {
        "run_retries": {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False},
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    }
    with instance_for_test(overrides=overrides) as instance:
        yield instance


@pytest.fixture(scope="module")
def webserver(instance: dg.DagsterInstance) -> Iterator[Loopback]:
    with dagster_graphql(instance, EmptyWorkspaceTarget()) as loopback:
        loopback.answer = placed(loopback.answer)
        yield loopback


@pytest.fixture
def bridge(
    webserver: Loopback,
    instance: dg.DagsterInstance,
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> FailedRuns:
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", webserver.url)
    monkeypatch.setenv("STRAVA_DAGSTER_PUBLIC_URL", "https://dagster.example.org")
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://bridge.example.org")
    return FailedRuns(load_settings(), engine)


def fail(
    instance: dg.DagsterInstance, job: dg.JobDefinition = import_history, tags: dict[str, str] | None = None
) -> str:
    result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    assert not result.success
    return result.run_id


def failed(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE) -> str:
    """A run that counts as failed, without any event."""
    tags = UPKEEP | {"dagster/will_retry": "false"}
    run: dg.DagsterRun = create_run_for_test(instance, job_name="strava_upkeep", tags=tags, status=status)
    return run.run_id


def messages(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(alert_messages).order_by(alert_messages.c.id)))


def subjects(engine: Engine) -> list[str]:
    return [message.subject for message in messages(engine)]


def end_pause(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(failed_runs).values(told_at=func.clock_timestamp() - timedelta(hours=1)))


def test_a_failed_run_is_told_once_with_athlete_months_reason_and_link(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, webserver: Loopback
) -> None:
    months = {
        "dagster/asset_partition_range_start": "1001|2024-05-01",
        "dagster/asset_partition_range_end": "1001|2024-07-01",
    }
    run_id = fail(instance, tags=months)
    assert bridge.look() == 1
    (message,) = messages(engine)
    assert message.subject == "Warning: A run failed: import_history, athlete 1001, 2024-05 to 2024-07"
    assert (message.change, message.severity, message.rule) == ("run_failed", "warning", None)
    assert message.athlete_ids == [1001]
    lines = message.body.split("\n")
    assert lines[0].startswith(
        "- import_history, athlete 1001, 2024-05 to 2024-07: athlete 1001, 2024-05: out of quota (at "
    )
    assert lines[-3:] == [
        "Page: https://bridge.example.org/",
        f"Run: https://dagster.example.org/runs/{run_id}",
        "More: docs/mails.md#failed-runs",
    ]
    end_pause(engine)
    assert bridge.look() == 0


def test_a_fault_of_the_code_is_told_by_its_first_line(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine
) -> None:
    fail(instance, upkeep)
    bridge.look()
    (message,) = messages(engine)
    assert message.subject == "Warning: A run failed: upkeep"
    assert "- upkeep: ValueError: no answer to access_token=******** (at " in message.body


@pytest.mark.parametrize("job", [of_a_host, of_another_app], ids=["a host", "another app"])
def test_a_run_of_others_is_not_ours(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, job: dg.JobDefinition
) -> None:
    fail(instance, job)
    assert bridge.look() == 0
    assert messages(engine) == []


@pytest.mark.parametrize(
    ("assets", "told"),
    [(["strava/activities"], 1), (["strava/activities", "of_a_host"], 0), (["other/activities"], 0)],
)
def test_a_run_is_ours_if_all_its_assets_are(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, assets: list[str], told: int
) -> None:
    run = create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.FAILURE,
        asset_selection=frozenset(map(dg.AssetKey.from_user_string, assets)),
        tags={"dagster/partition": "1001|2024-05-01", "dagster/will_retry": "false"},
    )
    assert run.run_id
    assert bridge.look() == told
    assert subjects(engine) == ["Warning: A run failed: activities, athlete 1001, 2024-05"] * told


def test_a_run_that_dagster_executes_once_more_is_told_only_if_that_fails(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine
) -> None:
    crashed = create_run_for_test(instance, job_name="strava_upkeep", tags=UPKEEP, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(crashed, "the run worker is gone")
    tagged = instance.get_run_by_id(crashed.run_id)
    assert tagged is not None
    assert tagged.tags["dagster/will_retry"] == "true"
    assert bridge.look() == 0
    last = create_run_for_test(
        instance,
        job_name="strava_upkeep",
        tags=UPKEEP | {"dagster/retry_number": "3", "dagster/max_retries": "0"},
        status=dg.DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(last, "the run worker is gone, too")
    assert bridge.look() == 1
    (message,) = messages(engine)
    assert "- upkeep: the run worker is gone, too (at " in message.body


def test_a_run_without_a_word_on_retries_is_waited_for(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run_for_test(instance, job_name="strava_upkeep", tags=UPKEEP, status=dg.DagsterRunStatus.FAILURE)
    assert bridge.look() == 0
    monkeypatch.setattr(failed_run_queries, "TAGGED_AFTER_SECONDS", 0.0)
    assert bridge.look() == 1


def test_the_alert_about_dead_letters_tells_of_their_run(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine
) -> None:
    fail(instance, webhook_sync)
    assert bridge.look() == 0
    assert messages(engine) == []
    with engine.connect() as connection:
        assert connection.execute(select(failed_runs.c.told_at)).scalars().all() == [None]
    fail(instance, broken_sync)
    assert bridge.look() == 1
    assert subjects(engine) == ["Warning: A run failed: webhook_sync"]


def test_a_storm_is_a_message_now_and_then_with_a_count(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_run_queries, "PAGE", 5)
    for _ in range(12):
        failed(instance)
    assert bridge.look() == 12
    assert subjects(engine) == ["Warning: 12 runs failed"]
    (message,) = messages(engine)
    assert message.body.count("Run: ") == 10
    assert "- and 2 more before these" in message.body
    # What fails soon after waits, and is told together.
    for _ in range(2):
        failed(instance)
    assert bridge.look() == 0
    end_pause(engine)
    assert bridge.look() == 2
    assert subjects(engine)[1:] == ["Warning: 2 runs failed"]


def test_what_failed_while_no_bridge_was_there_is_found_afterwards(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine
) -> None:
    failed(instance)
    bridge.look()
    failed(instance)
    end_pause(engine)
    assert FailedRuns(load_settings(), engine).look() == 1


def test_what_failed_days_ago_is_old_news(
    bridge: FailedRuns, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(instance)
    monkeypatch.setattr(thread_module, "LOOK_BACK", timedelta())
    assert bridge.look() == 0


def test_bridges_that_look_at_once_make_one_message(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine
) -> None:
    failed(instance)
    others = [FailedRuns(load_settings(), engine) for _ in range(3)]
    threads = [threading.Thread(target=other.look) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(messages(engine)) == 1


def test_a_bridge_that_dies_before_it_has_told_leaves_the_run_to_the_next(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> Any:
        raise KeyboardInterrupt

    failed(instance)
    with monkeypatch.context() as dying:
        dying.setattr(thread_module, "add_messages", die)
        with pytest.raises(KeyboardInterrupt):
            bridge.look()
    with engine.connect() as connection:
        assert connection.execute(select(failed_runs)).all() == []
    assert bridge.look() == 1


def test_a_run_that_is_deleted_meanwhile_is_told_without_a_reason(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = failed(instance)
    found = failed_run_queries.failed_since

    def then_deleted(*args: Any) -> Any:
        runs = found(*args)
        instance.delete_run(run_id)
        return runs

    monkeypatch.setattr(thread_module, "failed_since", then_deleted)
    assert bridge.look() == 1
    assert "- upkeep: its reason is in Dagster (at " in messages(engine)[0].body


def test_a_reason_is_found_behind_many_events(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_run_queries, "EVENTS_PAGE", 3)
    fail(instance)
    bridge.look()
    assert "out of quota" in messages(engine)[0].body


def test_the_thread_goes_on_while_dagster_is_away(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_module, "LOOK_SECONDS", 0.01)
    found, away = failed_run_queries.failed_since, [DagsterUnavailable("away"), ValueError("a fault of ours")]

    def at_last(*args: Any) -> Any:
        if away:
            raise away.pop()
        return found(*args)

    monkeypatch.setattr(thread_module, "failed_since", at_last)
    failed(instance)
    bridge.start()
    eventually(lambda: messages(engine), "a message")
    bridge.stop()
    assert bridge.errors == 1


def test_a_run_whose_reason_cannot_be_had_is_told_without_it_and_keeps_no_other_from_being_told(
    bridge: FailedRuns, instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable, readable = failed(instance), fail(instance)
    found = failed_run_queries.why_failed

    def why_failed(dagster: DagsterServer, run_id: str) -> failed_run_queries.Why:
        if run_id == unreadable:
            raise DagsterUnavailable("Dagster gave no usable answer")
        return found(dagster, run_id)

    monkeypatch.setattr(thread_module, "why_failed", why_failed)
    for _ in range(thread_module.MOST_TRIES):
        with pytest.raises(DagsterUnavailable):
            bridge.look()
    assert bridge.look() == 2
    (message,) = messages(engine)
    assert "- upkeep: its reason is in Dagster (at " in message.body
    assert "out of quota" in message.body
    assert readable in message.body
