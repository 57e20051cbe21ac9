"""The list of erasures names nobody without a key, outlives a change of keys, and never has half an entry."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.erasure_list import (
    Departure,
    Departures,
    Extent,
    Folder,
    departure,
    note_departure,
    read_departures,
    renew,
)

RIDER, OTHER = 1001, 2002
AT = datetime(2026, 11, 30, 16, 41, 5, 250_000, tzinfo=UTC)
OLD = "old:" + generate_key().partition(":")[2]
NEW = "new:" + generate_key().partition(":")[2]
old, new, both = Keyring.parse(OLD), Keyring.parse(NEW), Keyring.parse(f"{NEW},{OLD}")


@pytest.fixture(params=["here", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A list on this machine, and one in a storage."""
    return Folder(str(tmp_path / "list") if request.param == "here" else f"memory://{tmp_path.name}/list")


def read(keyring: Keyring, folder: Folder) -> Departures:
    return read_departures(keyring, [folder.url])


def test_an_entry_is_found_by_its_athlete_and_by_nobody_else(folder: Folder) -> None:
    folder.add(departure(old, RIDER, AT, Extent.ERASED))
    found = read(old, folder)
    (entry,) = found.entries
    assert found.last_of(RIDER) == entry
    assert (entry.at, entry.extent, entry.key_id) == (AT, Extent.ERASED, "old")
    assert found.last_of(OTHER) is None
    assert str(RIDER) not in entry.name.rpartition(".")[0]
    assert Departure.parse(entry.name) == entry


def test_the_last_departure_counts_and_one_that_is_noted_twice_is_one(folder: Folder) -> None:
    for at in (AT, AT + timedelta(days=1), AT):
        folder.add(departure(old, RIDER, at, Extent.DISCONNECTED))
    found = read(old, folder)
    last = found.last_of(RIDER)
    assert last is not None
    assert (len(found.entries), last.at) == (2, AT + timedelta(days=1))


def test_other_files_and_half_names_are_no_entries(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    entry = departure(old, RIDER, AT, Extent.ERASED)
    folder.add(entry)
    for name in ("README", entry.name[:-1], f".{entry.name}", entry.name.replace("erased", "asked")):
        (tmp_path / name).touch()
    assert folder.entries() == [entry]


def test_another_key_does_not_find_anybody(folder: Folder) -> None:
    folder.add(departure(old, RIDER, AT, Extent.ERASED))
    folder.add(departure(new, OTHER, AT, Extent.ERASED))
    with pytest.raises(ConfigurationError, match="entries of key old, which STRAVA_TOKEN_KEYS lacks"):
        read(new, folder)
    found = read(both, folder)
    assert found.last_of(RIDER) is not None
    assert found.last_of(OTHER) is not None


def test_a_change_of_keys_takes_the_list_along(folder: Folder) -> None:
    for athlete in (RIDER, OTHER):
        folder.add(departure(old, athlete, AT, Extent.ERASED))
    stranger = departure(old, 3003, AT, Extent.ERASED)
    folder.add(stranger)
    assert renew(both, folder.url, [RIDER, OTHER]) == 2
    assert renew(both, folder.url, [RIDER, OTHER]) == 0
    found = read(both, folder)
    assert {entry.key_id for entry in found.entries if entry != stranger} == {"new"}
    folder.remove(stranger)
    alone = read(new, folder)
    assert {athlete for athlete in (RIDER, OTHER, 3003) if alone.last_of(athlete)} == {RIDER, OTHER}
    assert [entry.at for entry in alone.entries] == [AT, AT]


def test_a_change_of_keys_that_dies_in_between_loses_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.add(departure(old, RIDER, AT, Extent.ERASED))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            renew(both, folder.url, [RIDER])
    assert len(read(both, folder).entries) == 2
    assert renew(both, folder.url, [RIDER]) == 1
    assert [entry.key_id for entry in read(new, folder).entries] == ["new"]


def test_without_a_list_there_is_nothing_to_renew_and_reading_says_so(folder: Folder) -> None:
    assert not folder.is_there()
    assert renew(both, folder.url, [RIDER]) == 0
    with pytest.raises(ConfigurationError, match="there is no list of erasures"):
        folder.entries()


def test_several_lists_are_read_together(tmp_path: Path) -> None:
    for name, athlete in (("a", RIDER), ("b", OTHER)):
        Folder(str(tmp_path / name)).add(departure(old, athlete, AT, Extent.ERASED))
    found = read_departures(old, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert {athlete for athlete in (RIDER, OTHER) if found.last_of(athlete)} == {RIDER, OTHER}


def test_it_is_private_and_on_the_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    note_departure(settings, RIDER, AT, Extent.ERASED)
    place = settings.home / "erasures"
    (entry,) = place.iterdir()
    assert (place.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)
    # The entry, its folder, and the folder's own entry as long as it is new.
    assert len(flushed) == 3
    note_departure(settings, OTHER, AT, Extent.ERASED)
    assert len(flushed) == 5


def test_a_place_that_cannot_be_written_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings.home).mkdir()
    (settings.home / "taken").touch()
    monkeypatch.setenv("STRAVA_ERASURES_URL", str(settings.home / "taken" / "list"))
    with pytest.raises(WarehouseError, match=r"the list of erasures at .* cannot be used"):
        note_departure(load_settings(), RIDER, AT, Extent.ERASED)
    monkeypatch.setenv("STRAVA_ERASURES_URL", "nowhere://list")
    with pytest.raises(ConfigurationError, match="STRAVA_ERASURES_URL is not usable"):
        note_departure(load_settings(), RIDER, AT, Extent.ERASED)


def test_in_a_container_without_a_place_nobody_waits_and_the_log_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "false")
    note_departure(load_settings(), RIDER, AT, Extent.ERASED)
    assert not settings.home.exists()
    assert f"athlete {RIDER} is on no list of erasures" in caplog.text
    assert "STRAVA_ERASURES_URL is not set" in caplog.text
    monkeypatch.setenv("STRAVA_ERASURES_URL", "memory://shared/list")
    note_departure(load_settings(), RIDER, AT, Extent.ERASED)
    assert len(Folder("memory://shared/list").entries()) == 1


@pytest.fixture(autouse=True)
def empty_storage() -> None:
    fsspec.filesystem("memory").store.clear()
