"""After everything has run, no other user of the machine can read a file of it, and no process of it leaves a core."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from strava_pipeline.local import acl, private_files
from strava_pipeline.local.postgres import Server
from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation, Mock, start_up
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

STRANGER = acl.user_principal(54321, 54321)
SERVICES = 3


@pytest.fixture(params=[0o000, 0o022], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def told_modes(home: Path) -> list[str]:
    """What of a home is open to others; sockets and links included."""
    found = []
    for path in (home, *home.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        is_plain = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
        is_open = private_files.is_exposed(path) if is_plain else status.st_mode & 0o077
        # A server's socket lies in its data folder, which nobody else passes.
        if is_open and not stat.S_ISSOCK(status.st_mode):
            found.append(f"{path} {stat.S_IMODE(status.st_mode):o}")
    return found


def limits(process: psutil.Process) -> tuple[str, ...]:
    text = Path(f"/proc/{process.pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\S+) +(\S+)", text, re.MULTILINE)
    assert found
    return found.groups()


def umask_of(process: psutil.Process) -> int:
    found = re.search(r"^Umask:\s+(\d+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1], 8)


def sockets_of(process: psutil.Process) -> list[Path]:
    """Where a code server of Dagster's listens."""
    arguments = process.cmdline()
    return [Path(after) for before, after in pairwise(arguments) if before == "--socket"]


def run_up(installation: Installation) -> tuple[set[tuple[str, ...]], set[int], int]:
    """Run everything until it answers; core limits and umasks of all its processes, and how many those are.

    Each works in the home, and so do the sockets by which they talk.
    """
    process = start_up(installation)
    try:
        noted = installation.home / "postgres" / "postmaster.pid"
        server = psutil.Process(int(noted.read_text().split()[0]))
        services = psutil.Process(process.pid).children(recursive=True)
        assert {Path(one.cwd()) for one in services} == {installation.home / "work"}
        sockets = [path for one in services for path in sockets_of(one)]
        assert sockets
        assert {path.parent for path in sockets} == {installation.home / "tmp"}
        ours = [server, psutil.Process(process.pid), *services]
        return {limits(one) for one in ours}, {umask_of(one) for one in ours}, len(ours)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.usefixtures("umask")
def test_all_that_is_written_is_its_owners_alone(
    embedded: Installation, start_mock: Callable[..., Mock], tmp_path: Path
) -> None:
    recordings.write(tmp_path / "runner")
    mock = start_mock("--recordings", str(tmp_path / "runner"))
    embedded.output("init")
    embedded.output("connect", "--code", mock.new_code(recordings.ATHLETE_ID))
    assets = "activities,activity_details,activity_streams,activity_points_parquet"
    span = ("--athlete", str(recordings.ATHLETE_ID), "--from", "2023-11", "--to", "2025-10")
    embedded.output("backfill", *span, "--assets", assets)
    home = embedded.home
    page = embedded.home.parent / "ride.html"
    embedded.output("report", str(recordings.MARATHON_ID), "-o", str(page))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    core_limits, umasks, processes = run_up(embedded)
    assert processes > SERVICES
    assert core_limits <= {("0", "0"), ("1", "1")}
    assert umasks == {0o077}

    written = {path.name for path in home.rglob("*")}
    assert {".env", "logs", "dagster", "points.parquet", "server.log", "dagster-daemon.log"} <= written
    assert told_modes(home) == []
    assert not acl.may_traverse(home, STRANGER)
    if os.geteuid() == 0:
        read = subprocess.run(
            ["/bin/cat", str(home / ".env")], user=STRANGER.number, group=STRANGER.number, extra_groups=[],
            capture_output=True, check=False,
        )  # fmt: skip
        assert read.returncode != 0


def test_what_an_earlier_version_left_open_is_closed_at_the_next_start(
    installation: Installation, server: Server, database_name: str
) -> None:
    installation.environment["STRAVA_DATABASE_OWNER_URL"] = server.set_up_url(database_name)
    home = installation.home
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "bridge.log").write_text("old\n")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    told = installation.call("doctor").stdout
    assert f"warn  files               {home} (0755) is open to others: chmod go= {home}\n" in told
    shown = installation.call("migrate")
    assert f"closed 3 files and folders in {home} that other users could read\n" in shown.stderr
    assert told_modes(home) == []
    assert "ok    files               no other user has access to" in installation.call("doctor").stdout
    assert installation.call("migrate").stderr == ""
