"""Prints what ``strava-pipeline up`` needs of a machine: memory by process, and processor time, idle and importing.

Starts ``up`` as a user does, in a folder of its own, with a mock Strava beside it that is not counted. First nothing is
to do, for some minutes: a process that is replaced by another one meanwhile shows. Then both athletes of the mock are
imported, and each of their months is started in Dagster besides, so that runs are at work in every slot. Memory is the
proportional set size: what processes share is divided among them. ``--gigabyte`` runs the same within 1 GiB and on one
core, by control groups, which takes root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import requests
from sqlalchemy import Engine, make_url, select, text

from benchmarks.control_groups import Group, new_group
from benchmarks.figure import show
from benchmarks.installation import TIMEOUT_SECONDS, new_settings
from strava_pipeline.cli.athletes import connect_athlete
from strava_pipeline.local.postgres import release_server
from strava_pipeline.months import months_between
from strava_pipeline.names import HISTORY_ASSETS, PARTITION_TAG, partition_key
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import authorize_url
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine
from strava_pipeline.warehouse.imports.wishes import make_import
from strava_pipeline.warehouse.migrate import open_warehouse
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import HISTORY_STEPS, MadeBy
from webhook_bridge.dagster_api import launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

MONTHS = 12
IDLE_SECONDS = 240.0
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 3600.0
STOPPING_SECONDS = 60.0
GIB = 1024**3
MB = 1e6
POSTGRES, RUNS = "Postgres", "runs"
# The process that the code server has runs forked from, and the runs.
FORKS = "forkserver"
# Which process it is, by a word of its command line; the first that fits.
KINDS = {
    "dagster-webserver": "Dagster's webserver",
    "dagster-daemon": "Dagster's daemon",
    "code-server": "code server",
    "resource_tracker": "code server",
    FORKS: "code server",
    "bridge": "bridge",
    "postgres": POSTGRES,
}
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Look:
    """The processes of ``up`` at one moment: PSS (bytes) by kind, and how many runs."""

    memory: Mapping[str, int]
    runs: int

    @property
    def total(self) -> int:
        """The sum of all processes, bytes."""
        return sum(self.memory.values())


@dataclass
class Processes:
    """The processes of ``up`` and of its Postgres, and all that were ever seen of them."""

    up: int
    home: Path
    # Processor seconds by process, as last seen, and what it is.
    seconds: dict[psutil.Process, float] = field(default_factory=dict)
    kinds: dict[psutil.Process, str] = field(default_factory=dict)

    def look(self) -> Look:
        """Read the memory of each process."""
        memory, runs = Counter[str](), 0
        for process in self._all():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                kind = self._kind(process)
                memory[kind] += pss(process.pid)
                self.kinds[process] = kind
                times = process.cpu_times()
                self.seconds[process] = times.user + times.system
                runs += kind == RUNS
        return Look(memory, runs)

    def _all(self) -> Iterator[psutil.Process]:
        postmaster = int((self.home / "postgres/postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        # Known by their numbers: one of them may be a child of the other.
        found: dict[int, psutil.Process] = {}
        for top in (self.up, postmaster):
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(top)
                found |= {each.pid: each for each in (parent, *parent.children(recursive=True))}
        yield from found.values()

    def _kind(self, process: psutil.Process) -> str:
        if process.pid == self.up:
            return SUPERVISOR
        line = " ".join(process.cmdline())
        parent = process.parent()
        if FORKS in line and parent is not None and FORKS in " ".join(parent.cmdline()):
            return RUNS
        return next((kind for word, kind in KINDS.items() if word in line), "others")


def pss(process: int) -> int:
    """Return the proportional set size of a process, bytes."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def main() -> None:
    """Measure ``up`` idle and importing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS, help="how long nothing is to do")
    parser.add_argument("--gigabyte", action="store_true", help="within 1 GiB and on one core")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="strava-pipeline-benchmark-"))
    try:
        settings = new_settings(home)
        # Otherwise minutes pass from one batch of requests to the next.
        os.environ["STRAVA_IMPORT_BATCH_INTERVAL_SECONDS"] = "0"
        with new_group(GIB, 1) if options.gigabyte else contextlib.nullcontext() as group:
            try:
                _measure(settings, group, options.idle_seconds)
            finally:
                # Postgres is in the group, and uses it until we do not use Postgres any more.
                release_server(home)
    finally:
        shutil.rmtree(home)


def _measure(settings: Settings, group: Group | None, idle_seconds: float) -> None:
    with _mock(settings) as mock_url, _up(group) as up:
        processes = Processes(up.pid, settings.home)
        _idle(processes, idle_seconds)
        with open_warehouse(settings) as engine:
            dagsters = open_engine(make_url(ensure_dagster_url(settings)).set(drivername="postgresql+psycopg"))
            began, before = time.monotonic(), _sizes(engine, dagsters)
            _ask(settings, engine, mock_url)
            peak, most = _watch_import(processes, engine)
            show("the import took", time.monotonic() - began, "s")
            _show_disk(engine, before, _sizes(engine, dagsters))
            dagsters.dispose()
        show("runs at work at once, at most", most)
        _show_memory("importing, at its peak", peak)
        if group is not None:
            show("processes ended for want of memory", group.killed())


def _idle(processes: Processes, seconds: float) -> None:
    """Look at nothing to do, once everything that begins with the start has ended."""
    first = time.monotonic()
    while processes.look().runs or time.monotonic() - first < 60:
        time.sleep(LOOK_SECONDS)
    before, began = set(processes.seconds), time.monotonic()
    used = sum(processes.seconds.values())
    while time.monotonic() - began < seconds:
        time.sleep(LOOK_SECONDS)
        look = processes.look()
    # Postgres has a process for each connection, which come and go.
    new = [kind for process, kind in processes.kinds.items() if process not in before and kind != POSTGRES]
    minutes = (time.monotonic() - began) / 60
    _show_memory("idle", look)
    show(f"new processes in {minutes:.1f} min of nothing to do", ", ".join(new) or "none")
    show("processor time per minute of nothing to do", (sum(processes.seconds.values()) - used) / minutes, "s")


def _ask(settings: Settings, engine: Engine, mock_url: str) -> None:
    """Ask for everything of each athlete, and start each month in Dagster as somebody does in its UI."""
    dagster = DagsterServer.from_settings(settings)
    place = find_place(dagster)
    now = datetime.now(UTC)
    first = now.replace(year=now.year - 1, day=1)
    for known in requests.get(f"{mock_url}/mock/athletes", timeout=TIMEOUT_SECONDS).json():
        consent = f"{authorize_url(settings)}&athlete={known['id']}"
        redirect = requests.get(consent, allow_redirects=False, timeout=TIMEOUT_SECONDS)
        athlete_id = connect_athlete(settings, engine, redirect.headers["Location"])
        with engine.begin() as connection:
            make_import(connection, athlete_id, None, None, HISTORY_STEPS, profile=True, by=MadeBy.CONNECT)
        for month in months_between(first, now):
            launch_assets(dagster, place, HISTORY_ASSETS, {PARTITION_TAG: partition_key(athlete_id, month)})


def _watch_import(processes: Processes, engine: Engine) -> tuple[Look, int]:
    """Return the look with the most memory, and how many runs were at work at once, until nothing lacks."""
    peak, most = processes.look(), 0
    is_over = partial(_is_over, engine)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        look = processes.look()
        peak, most = max(peak, look, key=lambda each: each.total), max(most, look.runs)
        if most and not look.runs and is_over():
            return peak, most
        if time.monotonic() > deadline:
            raise TimeoutError(f"the import has not ended after {PATIENCE_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)


def _is_over(engine: Engine) -> bool:
    with engine.connect() as connection:
        return not list(connection.execute(select(imports.c.id).where(imports.c.whole_at.is_(None))))


def _sizes(*databases: Engine) -> list[int]:
    """The bytes of databases on disk, with their indexes."""
    sizes = []
    for database in databases:
        with database.connect() as connection:
            sizes.append(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    return sizes


def _show_disk(engine: Engine, before: Sequence[int], after: Sequence[int]) -> None:
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM strava.activity_streams")).scalar_one()
    show("activities with samples stored by then", stored)
    for name, earlier, later in zip(("our tables", "Dagster's tables"), before, after, strict=True):
        show(f"disk for each of them: {name}", (later - earlier) / stored / 1e3, "kB")


def _show_memory(when: str, look: Look) -> None:
    for kind, size in sorted(look.memory.items(), key=lambda item: -item[1]):
        show(f"{when}: {kind}", size / MB, "MB")
    show(f"{when}: all together", look.total / MB, "MB")


@contextlib.contextmanager
def _mock(settings: Settings) -> Iterator[str]:
    port = settings.api_url.split(":")[2].split("/")[0]
    command = (sys.executable, "-m", "strava_pipeline", "mock-strava", "--port", port, "--months", str(MONTHS))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as mock:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            mock.terminate()


@contextlib.contextmanager
def _up(group: Group | None) -> Iterator[subprocess.Popen[str]]:
    """Everything that ``up`` runs, served."""
    command = (sys.executable, "-m", "strava_pipeline", "up")
    enter = None if group is None else group.enter
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=enter) as up:  # noqa: PLW1509  one write to a file
        try:
            told = up.stdout or ()
            if not any("Ctrl-C stops" in line for line in told):
                raise SystemExit("up has ended before everything was served")
            yield up
        finally:
            up.terminate()
            up.wait(STOPPING_SECONDS)


if __name__ == "__main__":
    main()
