"""Two hosts do the work of one installation: each piece once, within one quota, and either goes on without the other.

Hosts are network namespaces, which takes root.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import requests
from dagster._core.execution.backfill import BulkActionStatus
from sqlalchemy import text

from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline.mock_strava.fault_scripts import FaultScript, Kind
from strava_pipeline.months import add_months, month_start
from strava_pipeline.names import Asset, Job, partition_key
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.distributed import BRIDGE_PORT, LOOPBACK, NAMES, Distributed, distributed, write_riders
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.network_namespaces import inside
from strava_pipeline_tests.ui_backfill import launch_backfill
from strava_pipeline_tests.warm_processes import WarmProcesses
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.followed_run import terminate_run

pytestmark = pytest.mark.long

RIDERS = range(71, 75)
HELD, NEW, CANCELED = 81, 82, 83
RIDES_EACH = 3
# Of a rider's history, before the last months.
MONTHS_AGO = (3, 4, 5)
# All that the histories cost does not fit into a window.
SHORT_LIMIT, WINDOW_SECONDS = 20, 10
HELD_SECONDS = 25.0
BOTH = {"one", "two"}
ANALYSED = dg.AssetKey(NAMES.asset_path(Asset.ANALYSES))


@pytest.fixture(scope="module")
def running(
    warm_processes: WarmProcesses, new_home: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Distributed]:
    folder = tmp_path_factory.mktemp("hosts")
    riders = write_riders(folder / "riders", (*RIDERS, HELD, NEW, CANCELED), cyclist_body())
    with distributed(
        warm_processes,
        folder,
        new_home(),
        riders,
        STRAVA_QUOTA_SHORT_LIMIT=str(SHORT_LIMIT),
        STRAVA_QUOTA_SHORT_WINDOW_SECONDS=str(WINDOW_SECONDS),
        STRAVA_QUOTA_LONG_LIMIT="50000",
        # What is fetched once stays as it is.
        STRAVA_UPKEEP_DETAILS_PER_DAY="0",
    ) as running:
        yield running


def test_both_hosts_share_the_work_and_each_piece_is_done_once(running: Distributed) -> None:
    had, began = running.strava.calls.body()["totals"], datetime.now(UTC)
    history = {rider: [ride(running, rider, months_ago=months_ago(n)) for n in range(RIDES_EACH)] for rider in RIDERS}
    for rider in RIDERS:
        running.connect(rider)
        running.ask_for(rider, month(MONTHS_AGO[-1]).date(), month(MONTHS_AGO[0]).date())
    await_whole(running, *RIDERS)

    requests.post(f"{strava(running)}/mock/tokens/expire", json={}, timeout=PATIENCE_SECONDS).raise_for_status()
    today = {rider: [ride(running, rider), ride(running, rider)] for rider in RIDERS}
    for number in range(2):
        for rider, rides in today.items():
            assert delivers(running, rider, rides[number])
    cells = [partition_key(rider, month(ago)) for rider in RIDERS for ago in MONTHS_AGO]
    backfill = launch_backfill(running.settings, [Asset.ANALYSES], cells)
    await_events(running)
    runs_of_backfill = eventually(lambda: ended_runs(running, backfill), "the runs of a backfill")

    before, old = analyses(running), {"old": [number for rides in history.values() for number in rides]}
    of_another_version = "SELECT 1 FROM strava.route_analyses WHERE analysis_version = 0"
    with running.owner.begin() as owner:
        owner.execute(text("UPDATE strava.route_analyses SET analysis_version = 0 WHERE activity_id = ANY(:old)"), old)
        owner.execute(text("UPDATE ops.imports SET next_at = now(), whole_at = NULL"))
    eventually(lambda: not running.rows(of_another_version), "figures of this version")
    await_whole(running, *RIDERS)

    # One quota for both, which was used up again and again.
    told = running.strava.calls.body()
    more = {name: told["totals"][name] - had[name] for name in ("calls", "token_calls", "too_many_requests")}
    assert more["too_many_requests"] == 0
    assert more["calls"] > 2 * SHORT_LIMIT
    # One exchange each, and one refresh after the tokens expired.
    assert more["token_calls"] == 2 * len(RIDERS)
    # Each activity was asked for once, by whichever host.
    asked = Counter(call["path"] for call in told["calls"] if call["status"] == 200)
    for number in (number for rides in (*history.values(), *today.values()) for number in rides):
        assert asked[f"/api/v3/activities/{number}"] == asked[f"/api/v3/activities/{number}/streams"] == 1
    of_riders = (
        "SELECT object_id, state, lost_runs FROM ops.webhook_events"
        # Upkeep may have seen a ride before its webhook came.
        " WHERE owner_id = ANY(:riders) AND source = 'webhook'"
    )
    events = running.rows(of_riders, riders=list(RIDERS))
    assert sorted(events) == sorted((number, "done", 0) for rides in today.values() for number in rides)
    # Each month was analysed once again.
    assert analyses(running) - before == Counter(before.keys())
    # Both hosts did work. Webhooks take two runs, which one host may take both; each host does some in the next test.
    hosts = running.hosts_of_runs()
    runs = running.instance.get_runs(dg.RunsFilter(created_after=began))
    by_job = {run.run_id: run.job_name for run in runs}
    assert {host for run_id, host in hosts.items() if by_job.get(run_id) == NAMES.job(Job.IMPORT_HISTORY)} == BOTH
    assert {hosts[run.run_id] for run in runs_of_backfill} == BOTH
    assert {run.status for run in runs if run.is_finished} == {dg.DagsterRunStatus.SUCCESS}


def test_work_of_a_host_that_vanishes_goes_on_at_the_other(running: Distributed) -> None:
    one = running.network.hosts["one"]
    had, before = running.strava.calls.body()["totals"], running.hosts_of_runs()
    running.take_runs("one")
    for rider in (HELD, NEW):
        running.connect(rider)
    # The newest month is done, and the next one is at work, when the host vanishes.
    history = [ride(running, NEW, months_ago=ago) for ago in (MONTHS_AGO[0], *[MONTHS_AGO[1]] * 5, MONTHS_AGO[2])]
    hold(running, *history[1:-1])
    running.ask_for(NEW, month(MONTHS_AGO[-1]).date(), month(MONTHS_AGO[0]).date())
    eventually(lambda: are_held(running), "an import that waits for Strava")
    live = ride(running, HELD)
    hold(running, live)
    assert delivers(running, HELD, live)
    eventually(lambda: are_held(running, live), "a webhook that waits for Strava")
    at_one = running.hosts_of_runs()
    assert {at_one[run_id] for run_id in at_one.keys() - before.keys()} == {"one"}
    with inside(one):
        engine = open_engine(running.engine.url)
        lock = engine.connect()
        lock.execute(text("SELECT 1 FROM ops.locks WHERE name = 'quota' FOR UPDATE"))
    running.network.cut(one)
    running.strava.faults.clear()
    for unfinished in (
        "SELECT object_id FROM ops.webhook_events WHERE state <> 'done' AND owner_id = :rider",
        "SELECT id FROM ops.imports WHERE whole_at IS NULL AND athlete_id = :rider",
    ):
        assert len(running.rows(unfinished, rider=HELD if "webhook" in unfinished else NEW)) == 1
    assert not is_free(running, "quota")
    running.takes_runs_too("two")
    eventually(lambda: is_free(running, "quota"), "a lock that nobody holds any more")
    await_events(running)
    await_whole(running, NEW)
    later = ride(running, HELD)
    assert delivers(running, HELD, later)
    await_events(running)
    hosts = running.hosts_of_runs()
    assert {hosts[run_id] for run_id in hosts.keys() - at_one.keys()} == {"two"}

    running.network.mend(one)
    lock.invalidate()
    lock.close()
    engine.dispose()
    running.take_runs("one")
    back = ride(running, HELD)
    assert delivers(running, HELD, back)
    await_events(running)
    (run_id,) = running.rows("SELECT run_id FROM ops.webhook_events WHERE object_id = :it", it=back)[0]
    assert running.hosts_of_runs()[run_id] == "one"
    wanted = sorted([live, later, back, *history])
    stored = "SELECT {} FROM strava.{} WHERE athlete_id IN (:held, :new) ORDER BY 1"
    for column, table in (("id", "activities"), ("activity_id", "route_analyses")):
        assert [number for (number,) in running.rows(stored.format(column, table), held=HELD, new=NEW)] == wanted
    assert running.strava.calls.body()["totals"]["too_many_requests"] == had["too_many_requests"]


def test_a_run_that_somebody_cancels_ends_at_its_host_and_pauses_its_import(running: Distributed) -> None:
    running.take_runs(*running.network.hosts)
    running.connect(CANCELED)
    rides = [ride(running, CANCELED, months_ago=MONTHS_AGO[0]) for _ in range(RIDES_EACH)]
    hold(running, *rides)
    running.ask_for(CANCELED, month(MONTHS_AGO[0]).date(), month(MONTHS_AGO[0]).date())
    eventually(lambda: are_held(running, rides[0]), "an import that waits for Strava")
    of_rider = "SELECT run_id, paused_by FROM ops.imports WHERE athlete_id = :rider"
    ((run_id, _),) = running.rows(of_rider, rider=CANCELED)

    terminate_run(DagsterServer.from_settings(running.settings), run_id)
    eventually(lambda: status_of(running, run_id) is dg.DagsterRunStatus.CANCELED, "a run that is canceled")
    eventually(lambda: running.rows(of_rider, rider=CANCELED) == [(run_id, "cancel")], "an import that is paused")


def strava(running: Distributed) -> str:
    return running.settings.oauth_url.removesuffix("/oauth")


def months_ago(number: int) -> int:
    """In which month one of some rides was."""
    return MONTHS_AGO[number % len(MONTHS_AGO)]


def month(ago: int) -> datetime:
    return month_start(add_months(datetime.now(UTC).date(), -ago))


def ride(running: Distributed, rider: int, *, months_ago: int = 0) -> int:
    """A rider rides, and Strava tells nobody; the activity's id."""
    began = datetime.now(UTC) - timedelta(hours=2) if months_ago == 0 else month(months_ago) + timedelta(days=3)
    told = {"athlete_id": rider, "sport_type": "Ride", "start_date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "silent": True}
    answer = requests.post(f"{strava(running)}/mock/activities", json=told, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return int(answer.json()["id"])


def delivers(running: Distributed, rider: int, activity_id: int) -> bool:
    """Whether the bridge accepts an event of a new activity."""
    secret = running.settings.signing_secrets()[0]
    return deliver(f"http://{LOOPBACK}:{BRIDGE_PORT}", secret, rider, activity_id)


def hold(running: Distributed, *activities: int) -> None:
    """Let Strava take its time to tell of these activities."""
    paths = (f"/api/v3/activities/{number}" for number in activities)
    running.strava.faults.add([FaultScript(path=path, fault=Kind.DELAY, delay_s=HELD_SECONDS) for path in paths])


def are_held(running: Distributed, *activities: int) -> bool:
    """Whether Strava was asked for these activities, or for any that it is to hold."""
    asked = {fault["path"].rpartition("/")[2] for fault in running.strava.faults.bodies() if fault["used"]}
    return asked >= set(map(str, activities)) if activities else bool(asked)


def await_events(running: Distributed) -> None:
    eventually(
        lambda: not running.rows("SELECT 1 FROM ops.webhook_events WHERE state <> 'done'"), "events that are done"
    )


def await_whole(running: Distributed, *riders: int) -> None:
    lacking = "SELECT 1 FROM ops.imports WHERE whole_at IS NULL AND athlete_id = ANY(:riders)"
    eventually(lambda: not running.rows(lacking, riders=list(riders)), "histories that are whole")


def is_free(running: Distributed, lock: str) -> bool:
    query = "SELECT 1 FROM ops.locks WHERE name = :lock FOR UPDATE SKIP LOCKED"
    return bool(running.rows(query, lock=lock))


def status_of(running: Distributed, run_id: str) -> dg.DagsterRunStatus:
    (run,) = running.instance.get_runs(dg.RunsFilter([run_id]))
    return run.status


def ended_runs(running: Distributed, backfill: str) -> list[dg.DagsterRun]:
    """The runs of a backfill once all have ended."""
    runs = list(running.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))
    job = running.instance.get_backfill(backfill)
    is_over = job is not None and job.status is BulkActionStatus.COMPLETED_SUCCESS
    return runs if is_over and all(run.is_finished for run in runs) else []


def analyses(running: Distributed) -> Counter[str]:
    """How often each month of the histories was analysed, as Dagster shows it."""
    records = running.instance.fetch_materializations(ANALYSED, limit=1000).records
    last = {partition_key(rider, month(ago)) for rider in RIDERS for ago in MONTHS_AGO}
    return Counter(key for record in records if (key := str(record.partition_key)) in last)
