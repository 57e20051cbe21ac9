"""Files and folders for their owner alone, or for one group, whatever the umask is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import acl, private_files
from strava_pipeline.local.private_files import OWNER_ONLY, Readers

STRANGER = 54321
MEMBERS = 54322
ROOT = os.geteuid() == 0
GROUP = MEMBERS if ROOT else os.getegid()
UMASKS = [0o000, 0o022, 0o077, 0o177, 0o777]


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def try_as(user: int, groups: list[int], *command: str) -> bool:
    """Whether a command of the system's succeeds as an ordinary user; who is no root can only be themselves."""
    return (
        subprocess.run(command, user=user, group=user, extra_groups=groups, capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.usefixtures("umask")
def test_folders_are_the_owners_with_all_that_was_missing_above(tmp_path: Path) -> None:
    private_files.make_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


@pytest.mark.usefixtures("umask")
def test_a_file_is_the_owners_before_anything_is_in_it(tmp_path: Path) -> None:
    with private_files.create(tmp_path / "file") as file:
        assert mode(tmp_path / "file") == 0o600
        file.write(b"personal")
    with private_files.open_to_append(tmp_path / "log"):
        assert mode(tmp_path / "log") & 0o077 == 0
    private_files.write_atomically(tmp_path / "whole", b"content")
    assert mode(tmp_path / "whole") == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"file", "log", "whole"}


def test_a_file_is_written_in_turn_although_a_process_died_over_it(tmp_path: Path) -> None:
    (tmp_path / "whole.new").write_bytes(b"hal")
    private_files.replace_by_one_process(tmp_path / "whole", b"content", (os.geteuid(), os.getegid()))
    assert (tmp_path / "whole").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.usefixtures("umask")
def test_a_group_reads_what_is_made_for_it(tmp_path: Path) -> None:
    readers = Readers(GROUP)
    private_files.make_folder(tmp_path / "a" / "b", readers)
    with private_files.create(tmp_path / "a" / "b" / "file", readers) as file:
        found = os.fstat(file.fileno())
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, GROUP)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert (mode(folder), folder.stat().st_gid) == (0o750, GROUP)


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen").chmod(0o755)
    private_files.make_folder(tmp_path / "chosen")
    assert mode(tmp_path / "chosen") == 0o755


@pytest.mark.parametrize("stands_there", ["file", "link", "dangling link"])
def test_what_somebody_put_under_a_files_name_is_not_written_to(tmp_path: Path, stands_there: str) -> None:
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    if stands_there != "dangling link":
        elsewhere.write_text("theirs")
    if stands_there == "file":
        path.write_text("theirs")
    else:
        path.symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        private_files.create(path)
    if stands_there != "file":
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            private_files.open_to_append(path)
    assert not elsewhere.exists() or elsewhere.read_text() == "theirs"


def test_closing_takes_others_rights_and_leaves_the_owners(tmp_path: Path) -> None:
    program, folder = tmp_path / "program", tmp_path / "folder"
    program.touch()
    program.chmod(0o755)
    folder.mkdir()
    folder.chmod(0o2777)
    for path, left in ((program, 0o700), (folder, 0o2700)):
        assert private_files.is_exposed(path)
        assert private_files.restrict(path)
        assert mode(path) == left
        assert not private_files.restrict(path)


def test_closing_for_a_group_leaves_the_groups_rights(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, -1, GROUP)
    path.chmod(0o664)
    private_files.restrict(path, Readers(GROUP))
    assert mode(path) == 0o640
    private_files.restrict(path, OWNER_ONLY)
    assert mode(path) == 0o600


def test_a_file_system_without_modes_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written to as before; that it is open stays to be told."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o644)
    monkeypatch.setattr(os, "chmod", refuse)
    assert not private_files.restrict(tmp_path / "file")
    assert private_files.is_exposed(tmp_path / "file")
    before = os.umask(0o177)
    try:
        private_files.make_folder(tmp_path / "folder")
    finally:
        os.umask(before)
    with private_files.create(tmp_path / "folder" / "file" if ROOT else tmp_path / "other", Readers(GROUP)) as file:
        file.write(b"content")


def test_closing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    (tmp_path / "theirs").chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    assert not private_files.restrict(tmp_path / "link")
    assert mode(tmp_path / "theirs") == 0o644


def test_a_named_user_passes_and_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    (folder / "file").touch(mode=0o644)
    somebody = acl.user_principal(STRANGER, STRANGER)
    assert not acl.may_traverse(folder, somebody)
    acl.allow_traversal(folder, somebody)
    assert acl.may_traverse(folder, somebody)
    assert not acl.may_traverse(folder, acl.user_principal(MEMBERS, MEMBERS))
    assert not private_files.is_exposed(folder)
    named = [entry for entry in acl.read_entries(folder) if entry.tag is acl.Tag.USER]
    assert named == [acl.AclEntry(acl.Tag.USER, STRANGER, acl.TRAVERSE)]
    if ROOT:
        for above in (tmp_path, *tmp_path.parents):
            acl.allow_traversal(above, somebody)
            acl.allow_traversal(above, acl.user_principal(MEMBERS, MEMBERS))
        assert try_as(STRANGER, [], "/bin/cat", str(folder / "file"))
        assert not try_as(STRANGER, [], "/bin/ls", str(folder))
        assert not try_as(MEMBERS, [], "/bin/cat", str(folder / "file"))


def test_whoever_may_pass_already_gets_no_entry(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    acl.allow_traversal(tmp_path, acl.user_principal(STRANGER, STRANGER))
    assert not acl.has_acl(tmp_path)
    assert acl.may_traverse(tmp_path, acl.user_principal(STRANGER, STRANGER))
    tmp_path.chmod(0o700)


def test_entries_of_others_are_kept_and_get_no_more_than_the_mask_left_them(tmp_path: Path) -> None:
    """Mode 700 takes everything from those in the list, by the mask; letting one in must not give it back."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o700)
    acl.allow_traversal(folder, acl.user_principal(MEMBERS, MEMBERS))
    folder.chmod(0o700)
    assert not acl.may_traverse(folder, acl.user_principal(MEMBERS, MEMBERS))
    acl.allow_traversal(folder, acl.user_principal(STRANGER, STRANGER))
    assert acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))
    assert not acl.may_traverse(folder, acl.user_principal(MEMBERS, MEMBERS))
    assert {entry.who for entry in acl.read_entries(folder) if entry.tag is acl.Tag.USER} == {MEMBERS, STRANGER}


def test_closing_keeps_those_whom_the_list_names(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o700)
    acl.allow_traversal(folder, acl.user_principal(STRANGER, STRANGER))
    folder.chmod(0o775)
    assert private_files.restrict(folder)
    assert not private_files.is_exposed(folder)
    assert acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))
    assert not acl.may_traverse(folder, acl.user_principal(MEMBERS, MEMBERS))


def test_a_named_user_without_the_right_is_not_helped_by_others(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    acl.allow_traversal(folder, acl.user_principal(STRANGER, STRANGER))
    folder.chmod(0o701)  # the mask is empty now: everybody passes but the one who is named
    assert not acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))
    assert acl.may_traverse(folder, acl.user_principal(MEMBERS, MEMBERS))
    acl.allow_traversal(folder, acl.user_principal(STRANGER, STRANGER))
    assert acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))


def test_a_group_passes_by_its_entry(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    acl.allow_traversal(folder, acl.group_principal(MEMBERS))
    assert acl.may_traverse(folder, acl.user_principal(STRANGER, MEMBERS))
    assert not acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))


def a_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def a_second_name(path: Path, target: Path) -> None:
    path.hardlink_to(target)


def a_pipe(path: Path, _target: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path, _target: Path) -> None:
    path.mkdir()


def a_socket(path: Path, _target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
@pytest.mark.parametrize("put", [a_link, a_second_name, a_pipe, a_folder, a_socket])
def test_what_is_no_file_of_its_own_is_neither_followed_nor_waited_for(
    new_home: Callable[[], Path], put: Callable[[Path, Path], None], flags: int
) -> None:
    folder = new_home()
    target, path = folder / "target", folder / "path"
    target.write_text("precious")
    put(path, target)
    with pytest.raises(ConfigurationError, match="is a link, a pipe or something else that is not a regular file"):
        private_files.open_regular(path, flags)


def test_the_end_of_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        private_files.read_tail(tmp_path / "missing")
    (tmp_path / "log").write_bytes(b"x" * private_files.LONGEST_READ + b"end")
    read = private_files.read_tail(tmp_path / "log")
    assert (len(read), read[-4:]) == (private_files.LONGEST_READ, b"xend")
