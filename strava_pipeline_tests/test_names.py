"""Names in Dagster: each begins with the prefix, and what begins otherwise is somebody else's."""

from __future__ import annotations

from datetime import date

import pytest

from strava_pipeline.names import (
    ALL_ASSETS,
    OWN_NAMES,
    Asset,
    Job,
    Names,
    athlete_of_key,
    month_of_key,
    partition_key,
    range_tags,
)
from strava_pipeline.strava.quota.windows import Lane

MINE = Names(("my", "rides"))


def test_each_kind_of_name_begins_with_the_prefix() -> None:
    assert MINE.asset_path(Asset.GEAR) == ["my", "rides", "gear"]
    assert MINE.asset_key(Asset.GEAR) == "my/rides/gear"
    assert MINE.job(Job.UPKEEP) == "my_rides_upkeep"
    assert MINE.op("sync_object") == "my_rides_sync_object"
    assert MINE.schedule("retention_every_night") == "my_rides_retention_every_night"
    assert MINE.group("lake") == "my_rides_lake"
    assert MINE.partition_set == "my_rides_athletes"
    assert (MINE.pool, MINE.newest_pool, MINE.upkeep_pool) == ("my_rides_api", "my_rides_newest", "my_rides_upkeep")
    assert MINE.athlete_tag == "my_rides/athlete"


def test_dagsters_job_of_all_assets_has_no_prefix() -> None:
    assert MINE.job(Job.ASSETS) == "__ASSET_JOB"


def test_a_deployment_of_our_own_begins_all_names_with_strava() -> None:
    assert Names() == OWN_NAMES
    assert OWN_NAMES.asset_key(Asset.ACTIVITIES) == "strava/activities"
    assert OWN_NAMES.job(Job.WEBHOOK_SYNC) == "strava_webhook_sync"


@pytest.mark.parametrize("names", [OWN_NAMES, MINE, Names(("a_b", "C", "9"))], ids=lambda names: names.prefix)
def test_assets_and_prefix_are_found_again(names: Names) -> None:
    assert Names.of_tag(names.tag_value) == names
    assert [names.asset_of(names.asset_key(asset)) for asset in ALL_ASSETS] == list(ALL_ASSETS)


@pytest.mark.parametrize("key", ["activities", "strava/activities", "rides/activities", "my/rides/x", "my/rides", ""])
def test_a_key_of_somebody_else_is_no_asset_of_ours(key: str) -> None:
    assert MINE.asset_of(key) is None


@pytest.mark.parametrize("parts", [(), ("",), ("my rides",), ("my/rides",), ("my.rides",), ("Straße",), ("ok", "a-b")])
def test_a_part_that_dagster_takes_in_no_name_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give one or more parts of letters, digits and underscores"):
        Names(parts)


@pytest.mark.parametrize("value", ["", ".", "my..rides", "my/rides", "my.rides."])
def test_a_tag_that_is_not_ours_gives_no_names(value: str) -> None:
    with pytest.raises(ValueError, match="key_prefix"):
        Names.of_tag(value)


def test_tags_tell_the_plain_name_and_the_prefix() -> None:
    prefix = {"strava_pipeline/prefix": "my.rides"}
    assert MINE.job_tags(Job.UPKEEP) == prefix | {"strava_pipeline/job": "upkeep"}
    assert MINE.asset_tags(Asset.GEAR) == prefix | {"strava_pipeline/asset": "gear"}
    assert MINE.lane_tags(Lane.LIVE) == {"my_rides/lane": "live", "dagster/priority": "10"}
    assert MINE.backfill_tags(7) == {"my_rides/athlete": "7", "my_rides/lane": "backfill", "dagster/priority": "-10"}


def test_a_partition_key_tells_its_athlete_and_month() -> None:
    key = partition_key(1001, date(2024, 5, 17))
    assert key == "1001|2024-05-01"
    assert (athlete_of_key(key), month_of_key(key)) == ("1001", date(2024, 5, 1))
    assert (athlete_of_key("1001"), month_of_key("1001")) == ("1001", None)
    assert set(range_tags(7, date(2024, 5, 1), date(2024, 7, 1)).values()) == {"7|2024-05-01", "7|2024-07-01"}
