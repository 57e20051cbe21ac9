"""Who gets into STRAVA_HOME and the lake: ours is closed, what others may have chosen is told."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import acl
from strava_pipeline.local.home_folder import close_home, describe_openings, lake_folder, let_lake_readers_traverse
from strava_pipeline.local.private_files import OWNER_ONLY, Readers
from strava_pipeline.settings import load_settings

GROUP = "readers"
GROUP_NUMBER = os.getegid() or 54322
STRANGER = acl.user_principal(54321, 54321)
MEMBER = acl.user_principal(54321, GROUP_NUMBER)
MADE = (
    "logs/bridge.log",
    "dagster/dagster.yaml",
    "dagster/storage/run/compute_logs/step.out",
    ".env",
    "postgres.users",
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, file_mode: int = 0o644, folder_mode: int = 0o755) -> Path:
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        folder.mkdir()
        folder.chmod(folder_mode)
    path.touch()
    path.chmod(file_mode)
    return path


def name_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a group that this user may give files to; the machine need not have a name for it."""
    known = grp.struct_group((GROUP, "x", GROUP_NUMBER, []))
    monkeypatch.setattr(grp, "getgrnam", {GROUP: known}.__getitem__)
    monkeypatch.setenv("STRAVA_FILE_GROUP", GROUP)


@pytest.fixture
def home() -> Path:
    """A home as earlier versions left it under the usual umask."""
    home = load_settings().home
    for name in MADE:
        write(home / name)
    write(home / "lake" / "athlete_id=1" / "month=2025-06" / "points.parquet")
    return home


def open_below(home: Path) -> list[Path]:
    return [path for path in (home, *home.rglob("*")) if mode(path) & 0o077 and not path.is_symlink()]


def test_what_earlier_versions_left_open_is_closed_once(home: Path) -> None:
    assert close_home(load_settings()) == len([home, *home.rglob("*")])
    assert open_below(home) == []
    assert close_home(load_settings()) == 0
    assert describe_openings(load_settings()) == []


def test_a_home_that_everybody_may_pass_is_closed(home: Path) -> None:
    """As starting Postgres by root used to leave it."""
    close_home(load_settings())
    home.chmod(0o711)
    assert close_home(load_settings()) == 1
    assert mode(home) == 0o700


def test_what_is_not_ours_is_left_as_it_is(home: Path, tmp_path: Path) -> None:
    theirs = write(home / "photos" / "beach.jpg")
    elsewhere = write(tmp_path / "elsewhere" / "file")
    (home / "logs" / "link").symlink_to(elsewhere)
    (home / "dagster" / "schedules").symlink_to(elsewhere.parent)
    close_home(load_settings())
    assert mode(home) == 0o700
    assert (mode(theirs), mode(theirs.parent)) == (0o644, 0o755)
    assert (mode(elsewhere), mode(elsewhere.parent)) == (0o644, 0o755)


@pytest.mark.parametrize("kind", ["a user's own folder", "a temporary folder"])
def test_a_home_that_serves_for_more_stays_and_is_told(home: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "a temporary folder":
        home.chmod(0o1777)
    else:
        monkeypatch.setenv("HOME", str(home))
    before = mode(home)
    close_home(load_settings())
    assert open_below(home) == [home]
    assert mode(home) == before
    (told,) = describe_openings(load_settings())
    assert told == f"{home} ({before:04o}) is open to others: chmod go= {home}"


def test_each_opening_is_one_line_that_tells_how_to_close_it(home: Path) -> None:
    told = describe_openings(load_settings())
    assert len(told) == 6
    assert f"{home} (0755) is open to others: chmod go= {home}" in told
    assert f"{home}/.env (0644) is open to others: chmod -R go= {home}/.env" in told
    assert f"{home}/dagster (0755) is open to others: chmod -R go= {home}/dagster (6 files and folders)" in told
    assert not any("\n" in line for line in told)


def test_a_lake_elsewhere_is_told_and_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = write(tmp_path / "lake" / "file").parent
    for address in (str(lake), f"file://{lake}", f"local://{lake}"):
        monkeypatch.setenv("STRAVA_LAKE_URL", address)
        assert close_home(load_settings()) == 0
        (told,) = describe_openings(load_settings())
        assert told.startswith(f"{lake} (0755) is open to others: chmod -R go= {lake}, or name a group")
    assert mode(lake) == 0o755
    lake.chmod(0o700)
    assert describe_openings(load_settings()) == []


def test_links_to_the_home_and_to_the_lake_are_seen_through(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home's data are closed wherever it lies; a lake that somebody moved away is theirs."""
    moved = tmp_path / "big disk"
    (home / "lake").rename(moved)
    (home / "lake").symlink_to(moved)
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "link"))
    close_home(load_settings())
    assert open_below(home) == []
    assert mode(moved) == 0o755
    (told,) = describe_openings(load_settings())
    assert told.startswith(f"{moved} (0755) is open to others")


def test_a_group_that_this_user_is_not_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name_group(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    monkeypatch.setattr(os, "getgroups", list)
    with pytest.raises(
        ConfigurationError, match="STRAVA_FILE_GROUP: this user is not in the group readers: add the user"
    ):
        let_lake_readers_traverse(load_settings())


def test_an_object_store_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_LAKE_URL", "s3://bucket/rides")
    assert lake_folder(load_settings()) is None
    assert let_lake_readers_traverse(load_settings()) == OWNER_ONLY
    assert describe_openings(load_settings()) == []


def test_a_group_reaches_the_lake_and_nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_group(monkeypatch)
    close_home(load_settings())
    assert let_lake_readers_traverse(load_settings()) == Readers(GROUP_NUMBER)
    assert acl.may_traverse(home, MEMBER)
    assert not acl.may_traverse(home, STRANGER)
    assert acl.group_and_other_rights(home) == 0
    assert mode(home / "lake") == 0o750
    assert [mode(path) for path in (home / "lake").rglob("*.parquet")] == [0o640]
    assert all(mode(home / name) & 0o077 == 0 for name in MADE)
    # The next start leaves all of it as it is.
    assert close_home(load_settings()) == 0
    assert describe_openings(load_settings()) == []
    assert acl.may_traverse(home, MEMBER)


def test_a_group_that_is_named_no_more_is_out_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_group(monkeypatch)
    close_home(load_settings())
    monkeypatch.delenv("STRAVA_FILE_GROUP")
    close_home(load_settings())
    assert open_below(home) == []


def test_a_group_that_cannot_be_let_in_alone_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_group(monkeypatch)
    home.chmod(0o700)

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(
        ConfigurationError, match=rf"cannot give access to the group {GROUP} alone \(Operation not supp.*: set"
    ):
        let_lake_readers_traverse(load_settings())
    assert mode(home) == 0o700


def test_an_unknown_group_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_FILE_GROUP", "no-such-group")
    with pytest.raises(
        ConfigurationError, match=r"^STRAVA_FILE_GROUP is not usable: .*this machine has no group no-such"
    ):
        load_settings()


def test_folders_above_a_roots_home_that_everybody_passes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions opened them for Postgres' user; whoever chose that for other reasons may keep it."""
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o711)
    monkeypatch.setenv("STRAVA_HOME", str(above / "home"))
    told = [line for line in describe_openings(load_settings()) if line.startswith(f"{above} ")]
    assert len(told) == (1 if os.geteuid() == 0 else 0)
    assert all(f"chmod o-x {above}" in line for line in told)
