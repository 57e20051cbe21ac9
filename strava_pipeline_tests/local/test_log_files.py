"""Logs turn over while a service writes all the time: no line is lost, torn or doubled."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from strava_pipeline.local import log_files
from strava_pipeline.local.log_files import KEPT, rotate, rotate_unused
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

CAP = 20_000
LINES = 40_000
TURNED_AT = 200_000
# Two processes write to one log, as a service and what it starts do; each line is told with its number.
# They wait while the log is long, so that it turns over in their midst on a slow machine as well.
WRITING = (
    "import os, sys, time\n"
    "name = 'child' if os.fork() == 0 else 'parent'\n"
    f"for number in range({LINES}):\n"
    f"    while os.fstat(1).st_size > {2 * TURNED_AT}: time.sleep(0.001)\n"
    "    os.write(1, f'{name} {number} {\"x\" * (number % 97)}.\\n'.encode())\n"
    "name == 'child' or os.wait()\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "service.log"


def can_be_cut(folder: Path) -> bool:
    """Whether this file system takes the head off a file (ext4 and XFS do)."""
    probe = folder / "probe"
    probe.write_bytes(b"x" * 2 * os.statvfs(folder).f_bsize)
    descriptor = os.open(probe, os.O_RDWR)
    try:
        return log_files._collapse(descriptor, os.statvfs(folder).f_bsize)
    finally:
        os.close(descriptor)
        probe.unlink()


def lines_of(log: Path) -> list[str]:
    """All lines from the oldest on, without the notes at the heads of files."""
    files = [log.with_name(f"{log.name}.{number}") for number in range(1, 1000)]
    found = "".join(path.read_text() for path in [*reversed([path for path in files if path.exists()]), log])
    return [line for line in found.splitlines() if not is_note(line)]


def is_note(line: str) -> bool:
    return not line.strip() or (line.startswith("(") and "(earlier lines: service.log.1)".startswith(line.strip()))


def write_all_the_time(log: Path, turned: Callable[[], None]) -> None:
    with log.open("ab") as output:
        service = subprocess.Popen([sys.executable, "-c", WRITING], stdout=output)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while service.poll() is None:
        turned()
        assert time.monotonic() < deadline
    assert service.returncode == 0


def test_no_line_is_lost_or_torn_while_two_processes_write(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "KEPT", 1000)
    turns = 0

    def turned() -> None:
        nonlocal turns
        turns += rotate(log, TURNED_AT)

    write_all_the_time(log, turned)
    assert turns > 2
    found = lines_of(log)
    expected = {f"{name} {number} {'x' * (number % 97)}." for name in ("child", "parent") for number in range(LINES)}
    # Where the file system cannot cut, a line may fall into the moment of each turn.
    allowed = 0 if can_be_cut(log.parent) else turns
    assert len(expected - set(found)) <= allowed
    assert set(found) <= expected
    assert len(found) == len(set(found))
    for name in ("child", "parent"):
        numbers = [int(line.split()[1]) for line in found if line.startswith(name)]
        assert numbers == sorted(numbers)


def test_what_cannot_be_cut_is_emptied(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "_collapse", lambda *_: False)
    written = [f"line {number}" for number in range(5000)]
    log.write_text("".join(f"{line}\n" for line in written))
    assert rotate(log, CAP)
    assert log.stat().st_size == 0
    assert lines_of(log) == written


def test_the_number_of_old_files_and_their_length_are_bounded(log: Path) -> None:
    with log.open("ab", buffering=0) as service:
        for turn in range(KEPT + 3):
            service.write(b"".join(b"turn %d line %d\n" % (turn, number) for number in range(2000)))
            assert rotate(log, CAP)
            assert log.stat().st_size < CAP
    names = {path.name for path in log.parent.iterdir()}
    assert names == {"service.log", *(f"service.log.{number}" for number in range(1, KEPT + 1))}
    assert log.with_name("service.log.1").read_text().startswith(("turn 5", "(earlier lines", "turn 4"))


def test_the_writer_goes_on_in_the_same_file(log: Path) -> None:
    with log.open("ab", buffering=0) as service:
        service.write(b"old\n" * CAP)
        rotate(log, CAP)
        service.write(b"new\n")
    assert log.read_text().endswith("new\n")


def test_old_files_are_private(log: Path) -> None:
    log.write_bytes(b"line\n" * CAP)
    log.chmod(0o644)
    rotate(log, CAP)
    assert stat.S_IMODE(log.with_name("service.log.1").stat().st_mode) == 0o600


def test_a_line_longer_than_the_log_is_torn_but_not_lost(log: Path) -> None:
    log.write_bytes(b"x" * 3 * CAP)
    rotate(log, CAP)
    assert log.with_name("service.log.1").read_bytes() + log.read_bytes() == b"x" * 3 * CAP


@pytest.mark.parametrize("dies_at", ["_make_room", "_note", "_collapse"])
def test_a_death_on_the_way_loses_nothing(log: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str) -> None:
    written = {f"line {number}" for number in range(5000)}
    log.write_text("".join(f"{line}\n" for line in sorted(written)))
    with monkeypatch.context() as dying:
        dying.setattr(log_files, dies_at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rotate(log, CAP)
    assert written <= set(lines_of(log))
    assert rotate(log, CAP)
    assert written <= set(lines_of(log))
    assert not log.with_name("service.log.turning").exists()


@pytest.mark.parametrize("stands_there", ["link to the log", "hard link", "link to the old file"])
def test_links_lead_nowhere(log: Path, tmp_path: Path, stands_there: str) -> None:
    """Postgres' log lies in a folder of a user with less rights than whoever turns it over."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious\n" * CAP)
    before = theirs.read_bytes()
    if stands_there == "link to the log":
        log.symlink_to(theirs)
    elif stands_there == "hard link":
        log.hardlink_to(theirs)
    else:
        log.write_bytes(b"line\n" * CAP)
        for name in ("service.log.1", "service.log.turning"):
            (tmp_path / name).symlink_to(theirs)
    assert rotate(log, CAP) is (stands_there == "link to the old file")
    assert theirs.read_bytes() == before


def test_a_short_log_and_none_are_left_alone(log: Path) -> None:
    assert not rotate(log, CAP)
    rotate_unused(log, CAP)
    log.write_text("short\n")
    assert not rotate(log, CAP)
    rotate_unused(log, CAP)
    assert log.read_text() == "short\n"
