"""Measures an installation with a thousand athletes, a million activities, and all of their months in Dagster.

``python -m benchmarks.many_athletes [--athletes N] [--months N]``. Fills the tables and Dagster's storage, then starts
everything as ``up`` does and measures: what live operation does again and again (a webhook, each schedule's look), the
operator's page, two pages of Dagster's UI (at first look, and later), the memory of each process, and the erasure of
one athlete. Filling takes some minutes, measuring a few more. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg
import requests
from sqlalchemy import create_engine, make_url

from benchmarks.dagster_at_size import fill_dagster
from benchmarks.figure import show
from benchmarks.footprint import MB, SUPERVISOR, Processes
from benchmarks.installation import Installation, installed
from benchmarks.many_athletes_data import FIRST_ATHLETE, Size, fill
from benchmarks.webhook_latency import deliver_ride, show_parts
from strava_pipeline.cli.instance import instance_at
from strava_pipeline.cli.sign_in import new_login_link
from strava_pipeline.defs.code_location import definitions_of, own_plan
from strava_pipeline.defs.jobs.run_retention import lives_of
from strava_pipeline.defs.run_retention import Look
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import WAREHOUSE_DATABASE
from strava_pipeline.months import add_months
from strava_pipeline.names import HISTORY_ASSETS, Job
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine
from strava_pipeline.web.operator_door import dagster_signing_key
from strava_pipeline.web.request_signature import HEADER, PATH, Signature
from strava_pipeline_tests.defs.own_definitions import NAMES

Result = TypeVar("Result")

ATHLETES, ACTIVITIES_EACH, MONTHS = 1000, 1000, 227
LOOKS = 5
# Those that send no request.
JOBS = (Job.RUN_CHECKS, Job.UPDATE_LAKE, Job.RETENTION, Job.SEND_NOTIFICATIONS)
# How long old runs are looked at; the job itself stops after ten minutes, and goes on later.
RUNS_SECONDS = 30.0
PATIENCE_SECONDS = 120
ASSET_PAGE = """
query Page($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      partitionKeysByDimension { name partitionKeys }
      assetPartitionStatuses {
        ... on MultiPartitionStatuses {
          ranges {
            primaryDimStartKey
            primaryDimEndKey
            secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }
          }
        }
      }
    }
  }
}
"""
ASSETS_PAGE = """
query Assets($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys, loadMaterializations: true) {
    partitionStats { numPartitions numMaterialized numFailed }
    assetMaterializations(limit: 1) { runId timestamp }
  }
}
"""


def main() -> None:
    """Fill, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--athletes", type=int, default=ATHLETES)
    parser.add_argument("--activities", type=int, default=ACTIVITIES_EACH, help="of each athlete")
    parser.add_argument("--months", type=int, default=MONTHS, help="of each athlete, in Dagster")
    given = parser.parse_args()
    size = Size(given.athletes, given.activities, events_each=given.activities)
    with installed(partial(_fill, size, given.months)) as installation:
        _tell("measuring")
        _measure_pages(installation)
        _measure_webhooks(installation)
        _measure_schedules()
        _measure_jobs()
        _measure_pages(installation)
        for name, size_bytes in sorted(Processes(os.getpid(), installation.settings.home).look().memory.items()):
            if name != SUPERVISOR:  # here, the benchmark
                show(f"memory of {name}", size_bytes / MB, "MB")
        _measure_erasure(installation, FIRST_ATHLETE + 1)


def _fill(size: Size, months: int, settings: Settings, server: Server) -> None:
    _tell("filling the tables")
    owner = open_engine(make_url(server.url(WAREHOUSE_DATABASE, Login.OWNER)))
    seconds, _ = _timed(lambda: fill(owner, size))
    owner.dispose()
    show("filling the tables", seconds, "s")
    _tell("filling Dagster's storage")
    first = add_months(datetime.now(UTC).date(), 1 - months)
    engine = create_engine(make_url(ensure_dagster_url(settings)).set(drivername="postgresql+psycopg"))
    with instance_at(os.environ["DAGSTER_HOME"]) as instance, engine.begin() as connection:
        athletes = range(FIRST_ATHLETE, FIRST_ATHLETE + size.athletes)
        all_months = [add_months(first, number) for number in range(months)]
        seconds, events = _timed(lambda: fill_dagster(instance, connection, athletes, all_months))
    engine.dispose()
    show("filling Dagster's storage", seconds, "s")
    show("materializations stored", events)


def _measure_pages(installation: Installation) -> None:
    with requests.Session() as session:
        _log_in(session, new_login_link(installation.settings))
        page = f"http://127.0.0.1:{installation.settings.bridge_port}/"
        seconds = [_timed(partial(_look, session, page))[0] for _ in range(LOOKS)]
    show(f"operator's page, first of {LOOKS}", 1000 * seconds[0], "ms")
    show(f"operator's page, median of {LOOKS}", 1000 * statistics.median(seconds), "ms")
    for name, query, variables in (
        ("an asset's page in Dagster", ASSET_PAGE, {"key": {"path": NAMES.asset_path(HISTORY_ASSETS[0])}}),
        (
            "all assets in Dagster",
            ASSETS_PAGE,
            {"keys": [{"path": NAMES.asset_path(asset)} for asset in HISTORY_ASSETS]},
        ),
    ):
        first, later = (_timed(partial(_ask_dagster, installation, query, variables))[0] for _ in range(2))
        show(f"{name}, first look", first, "s")
        show(f"{name}, second look", later, "s")


def _log_in(session: requests.Session, link: str) -> None:
    form = session.get(link, timeout=PATIENCE_SECONDS).text
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    here = {"Origin": link.rpartition("/login/")[0]}
    session.post(link, data=fields, headers=here, timeout=PATIENCE_SECONDS).raise_for_status()


def _look(session: requests.Session, page: str) -> None:
    answer = session.get(page, timeout=PATIENCE_SECONDS)
    if "Athletes" not in answer.text:
        raise RuntimeError(f"the operator's page did not show: {answer.status_code}")


def _ask_dagster(installation: Installation, query: str, variables: dict[str, Any]) -> Any:
    settings = installation.settings
    request = requests.Request(
        "POST", f"{settings.dagster_webserver_url}{PATH}", json={"query": query, "variables": variables}
    ).prepare()
    assert isinstance(request.body, bytes)  # noqa: S101  as json= makes it
    request.headers[HEADER] = str(Signature.of(request.body, dagster_signing_key(settings)))
    with requests.Session() as session:
        answer = session.send(request, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    body = answer.json()
    if "errors" in body:
        raise RuntimeError(f"Dagster refused: {body['errors'][0]['message']}")
    return body["data"]


def _measure_webhooks(installation: Installation) -> None:
    dagster = open_engine(make_url(ensure_dagster_url(installation.settings)).set(drivername="postgresql+psycopg"))
    with requests.Session() as session:
        rides = [deliver_ride(installation, session) for _ in range(LOOKS)]
    seconds = [ride.seconds for ride in rides]
    show(f"a delivery until its figures can be read, median of {LOOKS}", statistics.median(seconds), "s")
    show("the slowest of them", max(seconds), "s")
    show_parts("delivery", rides, dagster, "work, until the figures can be read")
    dagster.dispose()


def _measure_schedules() -> None:
    """Time each schedule's look: whether something is due."""
    repository = definitions_of(own_plan()).get_repository_def()
    with instance_at(os.environ["DAGSTER_HOME"]) as instance:
        for schedule in repository.schedule_defs:
            seconds = []
            for _ in range(LOOKS):
                with dg.build_schedule_context(
                    instance=instance,
                    scheduled_execution_time=datetime.now(UTC),
                    repository_def=repository,
                ) as context:
                    seconds.append(_timed(partial(schedule.evaluate_tick, context))[0])
            show(f"look of {schedule.name}, median of {LOOKS}", 1000 * statistics.median(seconds), "ms")


def _measure_jobs() -> None:
    """Time the scheduled jobs that send no request, each once after the start and once more."""
    definitions = definitions_of(own_plan())
    with instance_at(os.environ["DAGSTER_HOME"]) as instance:
        for name in JOBS:
            job = definitions.resolve_job_def(NAMES.job(name))
            first, later = (_timed(partial(job.execute_in_process, instance=instance))[0] for _ in range(2))
            show(f"job {name}, first run", first, "s")
            show(f"job {name}, second run", later, "s")
        ends_at = time.monotonic() + RUNS_SECONDS
        look = Look(
            instance, NAMES, lives_of(load_settings()), datetime.now(UTC), goes_on=lambda: time.monotonic() < ends_at
        )
        seconds, _ = _timed(partial(list, look.work()))
        show("job run_retention, at its first look", look.seen / seconds, "runs/s")


def _measure_erasure(installation: Installation, athlete_id: int) -> None:
    engine = installation.engine

    def erase() -> int:
        begin_erasure(engine, athlete_id, keep_data=False, actor=Actor.OPERATOR, cause="benchmark")
        return finish_erasure(installation.settings, engine, athlete_id)

    seconds, rows = _timed(erase)
    show("erasure of one athlete", seconds, "s")
    show("rows deleted by it", rows)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def _tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
