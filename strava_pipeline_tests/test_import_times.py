from __future__ import annotations

import json
import subprocess
import sys

import pytest

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

HEAVY = ("dagster", "pandas", "matplotlib")


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after importing these."""
    imports = "; ".join(f"import {module}" for module in modules)
    code = f"import json, sys; {imports}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    "modules",
    [
        ("webhook_bridge.app", "webhook_bridge.server"),
        ("strava_pipeline.cli",),
        # What `api` loads, at once and when it runs.
        ("strava_pipeline.cli.request", "strava_pipeline.sync.backfill", "strava_pipeline.warehouse.migrate"),
        ("strava_pipeline.strava.client", "strava_pipeline.analysis.figures"),
        ("strava_pipeline.dagster_guard.guard",),
    ],
)
def test_light_modules_stay_light(modules: tuple[str, ...]) -> None:
    loaded = loaded_by(*modules)
    assert loaded.isdisjoint(HEAVY)
    assert {module.partition(".")[0] for module in modules} <= loaded


def test_the_package_itself_loads_nothing_of_what_it_offers() -> None:
    heavy = {*HEAVY, "sqlalchemy", "numpy", "requests", "flask", "pydantic", "yaml", "jinja2"}
    assert loaded_by("strava_pipeline").isdisjoint(heavy)


def test_the_command_answers_help_without_the_database_libraries() -> None:
    assert loaded_by("strava_pipeline.cli").isdisjoint({*HEAVY, "sqlalchemy", "numpy", "requests", "flask", "pydantic"})


def test_the_program_that_stays_behind_up_loads_next_to_nothing() -> None:
    loaded = loaded_by("strava_pipeline.local.keeper")
    assert "psutil" in loaded
    heavy = {*HEAVY, "sqlalchemy", "psycopg", "pydantic", "cryptography", "requests", "flask", "click", "numpy"}
    assert loaded.isdisjoint(heavy)


def test_a_run_loads_no_library_that_its_steps_may_not_need() -> None:
    assert loaded_by("strava_pipeline.definitions").isdisjoint({"pandas", "pyarrow", "matplotlib", "numpy"})


def test_whether_tables_are_the_newest_is_told_without_alembic() -> None:
    assert loaded_by("strava_pipeline.warehouse.migrate").isdisjoint({"alembic", "mako"})


def test_a_mail_that_is_not_sent_draws_nothing() -> None:
    assert loaded_by("strava_pipeline.notifications.outbox").isdisjoint({"pandas", "matplotlib"})


def test_frames_load_pandas_and_no_other_library_that_others_need() -> None:
    loaded = loaded_by("strava_pipeline.frames")
    assert "pandas" in loaded
    assert loaded.isdisjoint({"dagster", "matplotlib", "flask", "webhook_bridge"})


def test_what_is_looked_for_would_be_found() -> None:
    assert {"dagster"} <= loaded_by("strava_pipeline.definitions")
