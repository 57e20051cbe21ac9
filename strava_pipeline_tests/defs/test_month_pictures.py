"""Pictures in the metadata of a month's materialization: of its newest activity, and small."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import dagster as dg

from strava_pipeline.defs.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.defs.assets.analysis import route_analyses
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.notifications.conftest import hilly_streams
from strava_pipeline_tests.strava_stand_in import RIDER

GRID = (activities, activity_details, activity_streams, route_analyses)
JUNE = f"{RIDER}|2025-06-01"
MOST_BYTES = 100_000


def shown(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    (event,) = result.asset_materializations_for_node("route_analyses")
    return {name: str(value.value) for name, value in event.metadata.items() if name.startswith("newest")}


def test_a_month_shows_route_and_elevation_of_its_newest_activity(location: CodeLocation) -> None:
    location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
    location.strava.streams[2] = hilly_streams()
    location.strava.add(2, datetime(2025, 6, 20, tzinfo=UTC))
    # The last one of all was on a trainer.
    location.strava.streams[3] = {"time": {"data": [0, 1, 2]}, "watts": {"data": [100, 110, 120]}}
    location.strava.add(3, datetime(2025, 6, 25, tzinfo=UTC))
    pictures = shown(location.materialize(*GRID, partition_key=JUNE))
    assert set(pictures) == {"newest route", "newest elevation"}
    for name, text in pictures.items():
        assert len(text) < MOST_BYTES
        head, _, data = text.partition(",")
        assert head == f"![{name}](data:image/png;base64"
        assert b64decode(data.removesuffix(")")).startswith(b"\x89PNG")
    # Nothing new: nothing is drawn.
    assert shown(location.materialize(*GRID, partition_key=JUNE)) == {}


def test_a_month_without_positions_shows_no_picture(location: CodeLocation) -> None:
    location.strava.streams[1] = {"time": {"data": [0, 1, 2]}, "watts": {"data": [100, 110, 120]}}
    location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
    assert shown(location.materialize(*GRID, partition_key=JUNE)) == {}
