"""The example of several hosts: its ``dagster.yaml`` is ours but for what it is about, and workers have its settings.

``integration/test_two_hosts.py`` runs it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_celery.config import TASK_EXECUTE_JOB_NAME

from strava_pipeline.defs.resources import MAX_WAIT
from strava_pipeline.strava.quota.windows import Lane

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "distributed"
BROKER = "redis://127.0.0.1:9/0"


@pytest.fixture
def workers(dagster_database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app that a worker on a host with the example's files has."""
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("DAGSTER_HOME", str(EXAMPLE))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database.replace("+psycopg:", "+psycopg2:"))
    monkeypatch.setenv("CELERY_BROKER_URL", BROKER)
    return import_module("strava_workers").app


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_its_instance_is_ours_but_for_launcher_and_number_of_runs() -> None:
    ours, theirs = read(ROOT / "dagster.yaml"), read(EXAMPLE / "dagster.yaml")
    assert theirs.pop("run_launcher")["class"] == "CancelingCeleryRunLauncher"
    assert theirs["concurrency"]["runs"].pop("max_concurrent_runs") > ours["concurrency"]["runs"].pop(
        "max_concurrent_runs"
    )
    assert theirs == ours


def test_workers_have_the_launchers_settings_and_its_task(workers: Any) -> None:
    assert workers.conf.broker_url == workers.conf.result_backend == BROKER
    assert TASK_EXECUTE_JOB_NAME in workers.tasks
    assert workers.conf.worker_disable_prefetch
    # A task that is acknowledged at its end is given out again while it is at work.
    assert not workers.conf.task_acks_late


def test_celery_knows_of_a_run_for_longer_than_it_may_wait(workers: Any) -> None:
    assert workers.conf.result_expires > 2 * MAX_WAIT[Lane.BACKFILL].total_seconds()
