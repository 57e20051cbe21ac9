"""The example notebook runs from top to bottom, by the login of an analyst."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "rides.ipynb"
RIDER = 1001
ASKED = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def year(engine: Engine) -> None:
    """A ride of 100 km in March, and a run of 10 km in May, each with samples."""
    with engine.begin() as connection:
        connection.execute(insert(tables.athletes).values(id=RIDER, fetched_at=ASKED))
        for number, (month, sport, metres) in enumerate([(3, "Ride", 100_000.0), (5, "Run", 10_000.0)], 1):
            start = datetime(2026, month, 31, 22, tzinfo=UTC)
            at = {"start_date": start, "start_date_local": start.replace(tzinfo=None) + timedelta(hours=2)}
            told = {"name": sport, "type": sport, "sport_type": sport, "distance": metres, "resource_state": 3}
            ids = {"athlete_id": RIDER, "fetched_at": ASKED}
            connection.execute(insert(tables.activities).values(id=number, **ids, **at, **told))
            samples = {"time": [0, 30, 60], "altitude": [1.0, 3.0, 9.0], "heartrate": [100.0, None, 120.0]}
            connection.execute(
                insert(tables.activity_streams).values(activity_id=number, **ids, point_count=3, **samples)
            )
            figures = {"point_count": 3, "distance_m": metres, "elevation_gain_m": metres / 100}
            when = {"streams_fetched_at": ASKED, "analysed_at": ASKED}
            connection.execute(insert(route_analyses).values(activity_id=number, athlete_id=RIDER, **when, **figures))


def test_the_notebook_runs_from_top_to_bottom(
    year: None, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIDES_DATABASE_URL", server.url(database_name, Login.SQL_AS_ANALYST).replace("+psycopg", ""))
    monkeypatch.setenv("RIDES_ATHLETE", str(RIDER))
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    made: dict[str, Any] = {}

    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), made)  # noqa: S102  as Jupyter does

    assert made["year"].attrs["units"]["distance"] == "m"
    assert made["km"]["Ride"].tolist() == [100, 0, 0]
    assert made["km"]["Run"].tolist() == [0, 0, 10]
    assert len(made["bars"].patches) == 6
    assert made["longest"] == 1
    assert made["minutes"]["heartrate"].tolist() == [100, 120]
    assert made["figures"]["elevation_gain_m"].tolist() == [1000, 100]
    made["engine"].dispose()


def test_the_notebook_is_kept_without_what_a_run_left() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code != []
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
