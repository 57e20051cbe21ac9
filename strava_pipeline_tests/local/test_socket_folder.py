"""The socket's folder for long paths: a random name, noted, and never one that somebody else made."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import socket_folder
from strava_pipeline.local.kept_server import ServerMoved
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.local.postgres import (
    LONGEST_SOCKET_DIR,
    Server,
    release_server,
    revive_server,
    use_server,
    using_server,
)
from strava_pipeline.local.server_user import SERVER_USER

STRANGER = 54321
OURS = os.geteuid(), os.getegid()


@pytest.fixture
def temporary(new_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder that everybody may write to, as /tmp is."""
    folder = new_home()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / HomeEntry.POSTGRES_SOCKET


@pytest.fixture
def deep(new_home: Callable[[], Path], temporary: Path) -> Iterator[Path]:
    """A home whose path is too long for a socket."""
    home = new_home() / ("x" * LONGEST_SOCKET_DIR)
    yield home
    release_server(home)


def asked(server: Server) -> object:
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname="postgres") as connection:
        return connection.execute("SELECT 1").fetchone()


def owner_of_the_server(home: Path) -> int:
    return (home / "postgres").stat().st_uid


def taken_by_somebody_else(folder: Path) -> None:
    """The folder is gone, and another one stands there that looks the same."""
    owner = folder.stat().st_uid
    kept = folder.with_name(f"{folder.name}-kept")  # so that its number in the file system is not given out again
    folder.rename(kept)
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, STRANGER, STRANGER)
    assert os.geteuid() == 0 or folder.stat().st_uid == owner


def taken_by_a_link(folder: Path) -> None:
    kept = folder.with_name(f"{folder.name}-kept")
    folder.rename(kept)
    folder.symlink_to(kept)


def replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch(mode=0o700)


def opened_to_all(folder: Path) -> None:
    folder.chmod(0o711)


def cleaned_away(folder: Path) -> None:
    shutil.rmtree(folder)


SPOILT = [taken_by_somebody_else, taken_by_a_link, replaced_by_a_file, opened_to_all, cleaned_away]


def test_the_name_is_drawn_at_random_and_known_again(temporary: Path, note: Path) -> None:
    first = socket_folder.create_noted_folder(note, *OURS)
    assert first.parent == temporary
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert socket_folder.find_noted_folder(note, OURS[0]) == first
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert socket_folder.create_noted_folder(note, *OURS) != first


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_stands_under_the_noted_name_is_not_adopted(
    temporary: Path, note: Path, spoil: Callable[[Path], None]
) -> None:
    folder = socket_folder.create_noted_folder(note, *OURS)
    spoil(folder)
    before = os.lstat(folder) if os.path.lexists(folder) else None
    assert socket_folder.find_noted_folder(note, OURS[0]) is None
    assert socket_folder.create_noted_folder(note, *OURS) != folder
    if before is not None:
        after = os.lstat(folder)
        assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_a_folder_of_another_owner_is_not_ours(temporary: Path, note: Path) -> None:
    socket_folder.create_noted_folder(note, *OURS)
    assert socket_folder.find_noted_folder(note, STRANGER) is None


@pytest.mark.parametrize("content", [b"", b"half", b"/tmp\n1\n", b"/tmp\nx\ny\n", b"\xff\n1\n2\n", b"a\x00b\n1\n2\n"])
def test_a_note_that_says_nothing_is_no_note(note: Path, content: bytes) -> None:
    note.write_bytes(content)
    assert socket_folder.find_noted_folder(note, OURS[0]) is None


def test_a_temporary_folder_in_which_anybody_may_rename_is_refused(temporary: Path, note: Path) -> None:
    temporary.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"other users could replace our folder in .*: set TMPDIR"):
        socket_folder.create_noted_folder(note, *OURS)
    assert list(temporary.iterdir()) == []


def test_a_temporary_folder_of_another_user_is_refused(
    temporary: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(temporary, STRANGER, STRANGER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with pytest.raises(ConfigurationError, match="belongs to another user, who could replace"):
        socket_folder.create_noted_folder(note, *OURS)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("spoil", ["open to all", "open to a group", "of another user"])
def test_a_folder_further_up_that_others_may_move_things_in_is_refused(
    temporary: Path, note: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, link: bool, tmp_path: Path
) -> None:
    """Whoever moves a folder there can put another in its place, socket included."""
    up = temporary / "up"
    last = up / "further" / "last"
    last.mkdir(parents=True)
    if spoil == "open to all":
        up.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(up, STRANGER if spoil == "of another user" else 0, STRANGER)
        up.chmod(0o775)
    else:
        up.chmod(0o775)
        monkeypatch.setattr(os, "getegid" if spoil == "open to a group" else "geteuid", lambda: STRANGER)
    if link:
        (tmp_path / "link").symlink_to(last)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "link" if link else last))
    with pytest.raises(ConfigurationError, match="set TMPDIR"):
        socket_folder.create_noted_folder(note, *OURS)
    assert list(last.iterdir()) == []


def test_a_folder_further_up_that_all_write_to_may_be_sticky(
    temporary: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = temporary / "last"
    last.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(last))
    assert socket_folder.create_noted_folder(note, *OURS).parent == last


def test_a_folder_that_is_exchanged_while_it_is_made_is_refused(
    temporary: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the owner of the temporary folder, between its making and its change of owner."""
    make = tempfile.mkdtemp

    def replaced(*arguments: str, **named: str) -> str:
        folder = Path(make(*arguments, **named))
        folder.rename(folder.with_name("kept"))
        folder.mkdir(mode=0o755)
        return str(folder)

    monkeypatch.setattr(tempfile, "mkdtemp", replaced)
    with pytest.raises(ConfigurationError, match="was replaced while it was made"):
        socket_folder.create_noted_folder(note, STRANGER, STRANGER)
    assert not note.exists()


def test_the_folder_of_the_former_scheme_is_left_to_whoever_made_it(deep: Path, temporary: Path) -> None:
    """Its name followed from the home's path, so that anybody could be there first."""
    import hashlib  # noqa: PLC0415  for the former name only

    digest = hashlib.sha256(os.fsencode(deep.resolve() / "postgres")).hexdigest()[:16]
    squatted = temporary / f"strava-pipeline-{digest}"
    squatted.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(squatted, STRANGER, STRANGER)
    before = squatted.stat()
    with using_server(deep) as server:
        assert asked(server) == (1,)
        assert server.socket_dir != squatted
        assert server.socket_dir.stat().st_uid == owner_of_the_server(deep)
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    after = squatted.stat()
    assert (after.st_uid, after.st_mode, list(squatted.iterdir())) == (before.st_uid, before.st_mode, [])


def test_the_next_start_has_the_same_folder_whatever_the_temporary_folder(
    deep: Path, new_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with using_server(deep) as server:
        first = server.socket_dir
    monkeypatch.setattr(tempfile, "tempdir", str(new_home()))
    with using_server(deep) as server:
        assert server.socket_dir == first
        assert asked(server) == (1,)


@pytest.mark.parametrize("spoil", SPOILT)
def test_whoever_holds_a_server_learns_that_its_folder_was_taken(deep: Path, spoil: Callable[[Path], None]) -> None:
    """A server of somebody else's could listen there, and be told everything."""
    server = use_server(deep)
    spoil(server.socket_dir)
    with pytest.raises(ServerMoved, match="socket was removed and now has another name: start again"):
        revive_server(deep)
    release_server(deep)
    with using_server(deep) as fresh:
        assert fresh.socket_dir != server.socket_dir
        assert asked(fresh) == (1,)


def test_two_starts_at_once_share_one_folder(deep: Path, temporary: Path) -> None:
    found: list[Server] = []
    threads = [threading.Thread(target=lambda: found.append(use_server(deep))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert list(temporary.iterdir()) == [found[0].socket_dir]


def test_a_temporary_folder_too_deep_for_a_socket_is_told(
    deep: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = temporary / ("y" * LONGEST_SOCKET_DIR)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    with pytest.raises(ConfigurationError, match="is too long or odd for a socket: set TMPDIR=/tmp"):
        use_server(deep)


def test_links_in_the_data_folder_lead_root_nowhere(deep: Path, tmp_path: Path) -> None:
    """Who got hold of the server's user could put them there, and the next start by root would follow."""
    precious = tmp_path / "precious"
    with using_server(deep):
        user = owner_of_the_server(deep)
        assert os.geteuid() != 0 or user != 0, SERVER_USER
    precious.write_text("0\nprecious\n")
    noted = deep / "postgres" / "postmaster.pid"
    noted.symlink_to(precious)
    with pytest.raises(ConfigurationError, match="is a link, a pipe or something else"):
        use_server(deep)
    assert precious.read_text() == "0\nprecious\n"
    noted.unlink()


def test_no_server_is_left(deep: Path) -> None:
    with using_server(deep) as server:
        listening = [p for p in psutil.process_iter(["cmdline"]) if str(server.socket_dir) in str(p.info["cmdline"])]
        assert listening
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in listening)
