"""The example of a project that was there before: its own assets are computed from ours, and stored as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses

EXAMPLE = Path(__file__).parents[2] / "examples" / "existing-deployment"
NORA, AARAV = 118_204_771, 97_350_046
MAY = f"{NORA}|2026-05-01"
JUNE = f"{NORA}|2026-06-01"
ANALYSES = dg.AssetKey(["strava", "route_analyses"])


@pytest.fixture
def club(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The example's definitions, with the settings that its README names."""
    assert settings.analyst_database_url is not None
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("CLUB_FOLDER", str(tmp_path / "files"))
    monkeypatch.setenv("CLUB_TABLES_URL", settings.analyst_database_url.get_secret_value())
    made: Callable[[], dg.Definitions] = import_module("clubhouse.definitions").defs
    return made()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("strava_athletes", [str(NORA), str(AARAV)])
        yield instance


@pytest.fixture
def rides(engine: Engine) -> None:
    """Three rides of Nora's in May, one of them for her eyes only, and one in June."""
    asked = datetime(2026, 7, 1, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(insert(tables.athletes).values(id=NORA, fetched_at=asked))
        for number, (month, metres, climbed, visibility) in enumerate(
            [(5, 40_000, 400, "everyone"), (5, 90_000, 900, "only_me"), (5, 60_000, 600, "everyone"), (6, 1, 10, "")]
        ):
            start = datetime(2026, month, 3 + number, 8, tzinfo=UTC)
            ride = {"id": number, "athlete_id": NORA, "name": f"Ride {number}", "sport_type": "Ride", "type": "Ride"}
            told = {"start_date": start, "start_date_local": start.replace(tzinfo=None), "visibility": visibility}
            connection.execute(
                insert(tables.activities).values(**ride, **told, distance=metres, fetched_at=asked, resource_state=3)
            )
            figures = {"elevation_gain_m": climbed, "moving_time_s": 3600.0, "point_count": 2}
            connection.execute(
                insert(route_analyses).values(
                    activity_id=number, athlete_id=NORA, streams_fetched_at=asked, analysed_at=asked, **figures
                )
            )


def materialize(club: dg.Definitions, instance: dg.DagsterInstance, *assets: str, **how: Any) -> None:
    job = club.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(name) for name in assets]
    assert job.execute_in_process(instance=instance, asset_selection=selection, **how).success


def test_it_loads_with_its_own_executor_and_io_manager(club: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(club)
    repository = club.get_repository_def()
    job = repository.get_job("__ASSET_JOB")
    assert job.executor_def.name == "multiprocess"
    names = {spec.key.to_user_string() for spec in club.resolve_all_asset_specs()}
    assert {"members", "standings", "monthly_climbing", "bulletin", "strava/route_analyses"} <= names
    assert not names & {"strava/training_load", "strava/activity_points_parquet"}


def test_its_assets_are_computed_from_ours_and_kept_in_its_own_files(
    club: dg.Definitions, instance: dg.DagsterInstance, rides: None, tmp_path: Path
) -> None:
    for month in (MAY, JUNE):
        materialize(club, instance, "monthly_climbing", "bulletin", partition_key=month)
    materialize(club, instance, "members", "standings")

    files = tmp_path / "files"
    (climbing,) = pd.read_csv(files / "monthly_climbing" / str(NORA) / "2026-05-01.csv").to_dict("records")
    assert climbing == {"athlete_id": NORA, "activities": 3, "climbed_m": 1900, "hours": 3.0}
    # A ride that is private is in no bulletin.
    bulletin = pd.read_csv(files / "bulletin" / str(NORA) / "2026-05-01.csv")
    assert bulletin[["name", "distance"]].to_numpy().tolist() == [["Ride 2", 60_000], ["Ride 0", 40_000]]
    assert pd.read_csv(files / "standings.csv").to_numpy().tolist() == [["Nora", 1910], ["Aarav", 0]]


def test_before_the_first_import_everybody_stands_at_nothing(
    club: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    materialize(club, instance, "members", "standings")
    assert pd.read_csv(tmp_path / "files" / "standings.csv")["climbed_m"].tolist() == [0, 0]


def test_its_assets_follow_each_change_of_a_month(club: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """As a webhook shows it: a materialization of an older month, which was imported before."""

    def requested(cursor: Any = None) -> tuple[Any, set[tuple[str, str | None]]]:
        result = dg.evaluate_automation_conditions(club, instance, cursor=cursor)
        assets = [dg.AssetKey(name) for name in ("monthly_climbing", "bulletin")]
        return result.cursor, {
            (asset.to_user_string(), key) for asset in assets for key in result.get_requested_partitions(asset)
        }

    cursor, _ = requested()
    instance.report_runless_asset_event(dg.AssetMaterialization(ANALYSES, partition=MAY))
    _, found = requested(cursor)
    assert found == {("monthly_climbing", MAY), ("bulletin", MAY)}
