"""A run's config names a file, and neither our own data nor those of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_place import allowed_place


@pytest.fixture
def placed(tmp_path: Path) -> Settings:
    folders = {name: tmp_path / name for name in ("home", "rides", "uploads")}
    for folder in folders.values():
        folder.mkdir()
    return Settings(home=folders["home"], files_folder=folders["rides"], upload_url=str(folders["uploads"]))


@pytest.mark.parametrize("name", ["archives/export.zip", "rides/7/done/export.zip", "uploads/7/1/export.zip"])
def test_files_elsewhere_and_those_of_the_athlete_are_read(placed: Settings, tmp_path: Path, name: str) -> None:
    assert allowed_place(placed, str(tmp_path / name), 7) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "home/.env",
        "home",
        "",
        "rides/70/ride.fit",
        "rides/ride.fit",
        "rides",
        "uploads/8/1/x.zip",
        "rides/7/../8/x.zip",
    ],
)
def test_our_own_data_and_those_of_others_are_refused_in_one_line(placed: Settings, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is refused: ") as caught:
        allowed_place(placed, str(tmp_path / name), 7)
    assert "\n" not in str(caught.value)


def test_a_link_leads_nowhere_else(placed: Settings, tmp_path: Path) -> None:
    (tmp_path / "archive").symlink_to(tmp_path / "home")
    with pytest.raises(ConfigurationError, match="is no place for archives"):
        allowed_place(placed, str(tmp_path / "archive" / ".env"), 7)


def test_uploads_of_others_are_refused_however_their_folder_is_written(placed: Settings, tmp_path: Path) -> None:
    addressed = placed.model_copy(update={"upload_url": f"file://{tmp_path}/uploads"})
    assert allowed_place(addressed, str(tmp_path / "uploads/7/1/x.zip"), 7)
    with pytest.raises(ConfigurationError, match="is refused: "):
        allowed_place(addressed, str(tmp_path / "uploads/8/1/x.zip"), 7)


def test_a_path_must_be_absolute(placed: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"export\.zip is not absolute"):
        allowed_place(placed, "export.zip", 7)
