"""The lake's asset: months shown with rows, size and address, and what did not change is left alone."""

from __future__ import annotations

import grp
import os
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strava_pipeline.local import acl
from strava_pipeline.settings import Settings
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    activities,
    activity_details,
    activity_points_parquet,
    activity_streams,
    step,
)
from strava_pipeline_tests.strava_stand_in import RIDER

JUNE = f"{RIDER}|2025-06-01"


def test_a_month_is_written_and_its_materialization_tells_where(location: CodeLocation, settings: Settings) -> None:
    location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
    chain = (activities, activity_details, activity_streams, activity_points_parquet)
    result = location.materialize(*chain, partition_key=JUNE)
    assert result.success
    (event,) = result.asset_materializations_for_node(step("activity_points_parquet"))
    path = settings.home / "lake" / f"athlete_id={RIDER}" / "month=2025-06" / "points.parquet"
    assert event.metadata["dagster/partition_row_count"].value == 4
    assert event.metadata["size in bytes"].value == path.stat().st_size
    assert Path(str(event.metadata["dagster/uri"].value).removeprefix("file://")) == path


def test_a_year_shows_its_months_and_those_without_samples_have_no_file(
    location: CodeLocation, settings: Settings
) -> None:
    for month in (2, 5):
        location.strava.add(month, datetime(2024, month, 15, tzinfo=UTC))
    tags = {
        "dagster/asset_partition_range_start": f"{RIDER}|2024-01-01",
        "dagster/asset_partition_range_end": f"{RIDER}|2024-12-01",
    }
    chain = (activities, activity_details, activity_streams, activity_points_parquet)
    assert location.materialize(*chain, tags=tags).success
    assert len(location.materialized("activity_points_parquet")) == 12
    folders = sorted(path.name for path in (settings.home / "lake" / f"athlete_id={RIDER}").iterdir())
    assert folders == ["month=2024-02", "month=2024-05"]


def test_the_asset_keeps_the_home_and_its_host_as_they_should_be(
    location: CodeLocation, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever umask somebody's Dagster has; a group that may read the lake passes STRAVA_HOME, and gets no further."""
    group = grp.struct_group(("readers", "x", os.getegid() or 54322, []))
    monkeypatch.setattr(grp, "getgrnam", {group.gr_name: group}.__getitem__)
    monkeypatch.setenv("STRAVA_FILE_GROUP", group.gr_name)
    location.strava.add(1, datetime(2025, 6, 10, tzinfo=UTC))
    chain = (activities, activity_details, activity_streams, activity_points_parquet)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    before = os.umask(0)
    try:
        assert location.materialize(*chain, partition_key=JUNE).success
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert resource.getrlimit(resource.RLIMIT_CORE) == limits
    home = settings.home
    assert acl.may_traverse(home, acl.user_principal(54321, group.gr_gid))
    assert not acl.may_traverse(home, acl.user_principal(54321, 54321))
    assert acl.group_and_other_rights(home) == 0
    assert {path.stat().st_mode & 0o777 for path in (home / "lake").rglob("*") if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in (home / "lake").rglob("*") if path.is_dir()} == {0o750}
