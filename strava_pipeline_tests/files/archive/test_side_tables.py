from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.gear import Gear, gear_by_id
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.members import ArchiveMembers
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.side_tables import (
    ListedGear,
    Preferences,
    Profile,
    read_bikes,
    read_preferences,
    read_profile,
    read_shoes,
)
from strava_pipeline_tests.files.archive.made_archives import DATA, NOW, made_folder

PROFILE_HEADER = "Athlete ID,Email Address,First Name,Last Name,Sex,Description,Weight,City,State,Country"
GERMAN_PROFILE = "Sportler-ID,E-Mail,Vorname,Nachname,Geschlecht,Beschreibung,Gewicht,Ort,Bundesland,Land"
PREFERENCES_HEADER = (
    "Date of Birth,Weight,Functional Threshold Power,Maximum Heartrate,Athlete Type,Measurement Preference"
)
GERMAN_PREFERENCES = "Geburtsdatum,Gewicht,FTP,Max. Herzfrequenz,Sportlertyp,Maßeinheiten"


@contextmanager
def archive(folder: Path, **tables: str) -> Iterator[ArchiveMembers]:
    made_folder(folder, {f"{name}.csv": text.encode() for name, text in tables.items()})
    with open_archive(folder) as members:
        yield members


def test_the_tables_of_a_real_export_are_read() -> None:
    with open_archive(DATA / "export_en94.zip") as members:
        assert read_profile(members) == Profile(athlete_id=111111111, firstname="Alex", lastname="Sample")
        assert read_preferences(members) == Preferences(
            measurement_preference="meters", ftp_w=200, max_heartrate_bpm=190
        )
        assert (read_bikes(members), read_shoes(members)) == ((), ())


@pytest.mark.parametrize("header", [PROFILE_HEADER, GERMAN_PROFILE])
def test_a_profile_is_read_in_any_language(tmp_path: Path, header: str) -> None:
    row = '42,a@example.invalid,Ada,Muster,F,"Rides, runs",61.5,Ulm,,Germany'
    with archive(tmp_path, profile=f"{header}\n{row}\n") as members:
        assert read_profile(members) == Profile(
            athlete_id=42,
            firstname="Ada",
            lastname="Muster",
            sex="F",
            bio="Rides, runs",
            weight_kg=61.5,
            city="Ulm",
            country="Germany",
        )


def test_english_headers_count_more_than_places(tmp_path: Path) -> None:
    with archive(tmp_path, profile="Athlete ID,New,City,Weight\n42,x,Ulm,150 lbs\n") as members:
        assert read_profile(members) == Profile(athlete_id=42, city="Ulm", weight_kg=68.0)


@pytest.mark.parametrize("table", ["", "Athlete ID\n", "Athlete ID\nnobody\n", "Athlete ID\n-1\n"])
def test_an_archive_that_does_not_tell_whose_it_is_has_no_profile(tmp_path: Path, table: str) -> None:
    with archive(tmp_path, profile=table) as members:
        assert read_profile(members) is None


def test_an_archive_without_side_tables_tells_nothing(tmp_path: Path) -> None:
    with archive(tmp_path, activities="") as members:
        assert read_profile(members) is None
        assert read_preferences(members) == Preferences()
        assert (read_bikes(members), read_shoes(members)) == ((), ())


@pytest.mark.parametrize(
    ("header", "row", "preferences"),
    [
        (PREFERENCES_HEADER, ",70.5 kg,250 W,185,Cyclist,Metric", Preferences(
            measurement_preference="meters", weight_kg=70.5, ftp_w=250, max_heartrate_bpm=185)),
        (PREFERENCES_HEADER, ",165 lbs, W,,Runner,Imperial", Preferences(
            measurement_preference="feet", weight_kg=74.8)),
        (GERMAN_PREFERENCES, ',"70,5 kg",250 W,185,Radfahrer,Metrisch', Preferences(
            measurement_preference="meters", weight_kg=70.5, ftp_w=250, max_heartrate_bpm=185)),
        (GERMAN_PREFERENCES, ",lbs,,,,", Preferences(measurement_preference="feet")),
        (PREFERENCES_HEADER, ", kg,9999999 W,20,Runner,", Preferences(measurement_preference="meters")),
        (PREFERENCES_HEADER, ",nan,1e999,inf,,?", Preferences()),
    ],
)  # fmt: skip
def test_settings_are_read_by_what_cells_look_like(
    tmp_path: Path, header: str, row: str, preferences: Preferences
) -> None:
    with archive(tmp_path, general_preferences=f"{header}\n{row}\n") as members:
        assert read_preferences(members) == preferences


def test_a_side_table_beyond_its_limit_is_refused(tmp_path: Path) -> None:
    with archive(tmp_path, bikes="a\nb\n") as members:
        members.limits = ArchiveLimits(side_table_bytes=3)
        with pytest.raises(UnreadableFile, match="is larger than the 3 bytes that are read"):
            read_bikes(members)


def ride(identity: int, name: str | None, *, bike: str | None = None, shoe: str | None = None) -> ArchiveRow:
    return ArchiveRow(
        id=identity, start=NOW, name="", sport_word="", sport=None, gear_name=name, bike_id=bike, shoe_id=shoe
    )


def test_gear_gets_its_id_from_rows_and_its_make_from_tables(tmp_path: Path) -> None:
    tables = {
        "bikes": "Bike Name,Bike Brand,Bike Model,Bike Default Sport Types\nRoad  One,Canyon,Ultimate,Ride\nOld,,,\n",
        "shoes": "Shoe Name,Shoe Brand,Shoe Model,Shoe Default Sport Types\nBlue,Brooks,Ghost 15,Run\n,Hoka,Clifton,\n",
    }
    with archive(tmp_path, **tables) as members:
        bikes, shoes = read_bikes(members), read_shoes(members)
    rows = [
        ride(1, "road one", bike="b1"),
        ride(2, "Brooks Ghost 15 Blue", shoe="g2"),
        ride(3, "Hoka Clifton", shoe="g3"),
        ride(4, "Sold", bike="b4"),
        ride(5, None, bike="b5"),
        ride(6, "Old"),
        ride(7, "Road One", shoe="g7"),
    ]
    assert gear_by_id(rows, bikes, shoes) == {
        "b1": Gear(id="b1", name="road one", brand="Canyon", model="Ultimate", default_sports="Ride"),
        "g2": Gear(id="g2", name="Brooks Ghost 15 Blue", brand="Brooks", model="Ghost 15", default_sports="Run"),
        "g3": Gear(id="g3", name="Hoka Clifton", brand="Hoka", model="Clifton"),
        "b4": Gear(id="b4", name="Sold"),
        "g7": Gear(id="g7", name="Road One"),
    }


def test_a_name_that_two_bikes_share_tells_no_make() -> None:
    bikes = [ListedGear(name="One", brand="A"), ListedGear(name="one", brand="B")]
    assert gear_by_id([ride(1, "One", bike="b1")], bikes, []) == {"b1": Gear(id="b1", name="One")}
