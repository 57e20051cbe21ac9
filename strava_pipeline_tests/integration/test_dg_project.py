"""examples/dg-project, as ``dg`` sees it: its component is listed, scaffolded, checked and loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "dg-project"
BIN = Path(sys.executable).parent
COMPONENT = "strava_pipeline.StravaComponent"
PASSWORD = "canary-password"
Dg = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, as if it were installed."""
    folder = tmp_path / "dg-project"
    shutil.copytree(EXAMPLE, folder)
    return folder


@pytest.fixture
def dg(project: Path, tmp_path: Path) -> Dg:
    """Runs ``dg`` in the project; returns what it prints, once it has succeeded without a warning of ours."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    variables = {
        "CLUB_DATABASE_URL": f"postgresql://club:{PASSWORD}@127.0.0.1:1/club",
        "DAGSTER_HOME": str(home),
        "NO_COLOR": "1",
        "PYTHONPATH": str(project / "src"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "COLUMNS": "200",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [BIN / "dg", *arguments],
            cwd=project,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "strava_pipeline" not in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    return run


def test_dg_lists_the_component_and_tells_of_each_attribute(dg: Dg) -> None:
    assert COMPONENT in dg("list", "components")
    told = dg("utils", "inspect-component", COMPONENT)
    assert "Athletes' Strava activities as assets" in told
    assert "No month before that of this day has partitions." in told


def test_the_example_is_checked_and_loaded_without_a_database(dg: Dg) -> None:
    dg("check", "yaml")
    dg("check", "defs")
    listed: dict[str, Any] = json.loads(dg("list", "defs", "--json"))
    named = {
        "athletes",
        "gear",
        "activities",
        "activity_details",
        "activity_streams",
        "route_analyses",
        "training_load",
    }
    assert {asset["asset_key"] for asset in listed["assets"]} == {
        "longest_activities",
        *(f"strava/{asset}" for asset in named),
    }
    activities = next(asset for asset in listed["assets"] if asset["asset_key"] == "strava/activities")
    assert activities["owners"] == [{"team": "club"}]


def test_a_scaffolded_component_is_valid(dg: Dg, project: Path) -> None:
    dg("scaffold", "defs", COMPONENT, "running", "--key-prefix", "running", "--assets", "athletes", "--assets", "gear")
    written = yaml.safe_load((project / "src/club/defs/running/defs.yaml").read_text(encoding="utf-8"))
    assert written == {"type": COMPONENT, "attributes": {"key_prefix": "running", "assets": ["athletes", "gear"]}}
    dg("check", "yaml")
