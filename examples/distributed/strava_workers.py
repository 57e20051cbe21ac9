"""Celery's app for the workers: that of the run launcher in dagster.yaml, so that both have the same settings."""

from dagster import DagsterInstance
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task

# Loaded before the worker forks: its processes share the memory, and none takes seconds to begin its first run.

__all__ = ["app"]


def _launcher() -> CeleryRunLauncher:
    launcher = DagsterInstance.get().run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        raise SystemExit(
            "DAGSTER_HOME has a dagster.yaml whose run_launcher is not CeleryRunLauncher: copy the one here"
        )
    return launcher


app = _launcher().celery
create_execute_job_task(app)
