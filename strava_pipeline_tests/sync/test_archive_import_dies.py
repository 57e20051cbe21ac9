"""An import that dies at any step goes on where it was, and ends in the tables of one that did not."""

from __future__ import annotations

import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Connection, Engine, Table, event, func, select, update

from strava_pipeline.mock_strava.archive import write_archive
from strava_pipeline.mock_strava.history import generate_history
from strava_pipeline.settings import Settings
from strava_pipeline.sync import archive_files, archive_readers, archive_reading
from strava_pipeline.sync.archive_import import hand_in
from strava_pipeline.sync.archive_reading import Answer, Asked, Read, Terms
from strava_pipeline.warehouse.archives import imports
from strava_pipeline.warehouse.schema import archive_tables, tables
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.mock_strava.callers import NOON
from strava_pipeline_tests.sync.handing_in import FIT, hand, handing, here, rows_of
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcesses

NOW = datetime.fromtimestamp(NOON, UTC)
ACTIVITIES = 24
# Files that are stored in one transaction here, so that there are many.
AT_ONCE = 3
# Which import stored a row, when it was read, and serial numbers.
OF_THE_RUN = ("import_id", "read_at", "fetched_at", "file_taken_at")
COMPARED = (
    *(tables.activities, tables.activity_streams, tables.laps, tables.gear),
    *(archive_tables.archive_figures, archive_tables.archive_rows, archive_tables.archive_files),
    *(archive_tables.recordings, archive_tables.recording_channels, archive_tables.recording_bytes),
)


class Killed(BaseException):
    """Stands for a process that ends at once: whatever it has not committed is lost."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two dozen activities, with a recording that no row names."""
    person = generate_history(ACTIVITIES, NOON)
    folder = tmp_path_factory.mktemp("archive")
    path = write_archive(
        folder / "export.zip", athlete=person, activities=list(person.activities.values()), language="de", taken=NOW
    ).path
    with zipfile.ZipFile(path, "a") as more:
        more.write(FIT / "plain_run.fit", "activities/7.fit")
    return path


@pytest.fixture(scope="module")
def athlete_id() -> int:
    return generate_history(ACTIVITIES, NOON).id


def test_an_import_that_dies_before_any_commit_goes_on(
    engine: Engine, settings: Settings, archive: Path, athlete_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = whole_import(engine, settings, archive, athlete_id)
    read: list[str] = []

    def answer(asked: Asked, terms: Terms) -> Answer:
        found = archive_reading.answer(asked, terms)
        read.extend([asked.name] if isinstance(found, Read) else [])
        return found

    monkeypatch.setattr(archive_readers, "answer", answer)
    monkeypatch.setattr(archive_files, "FILES", AT_ONCE)
    monkeypatch.setattr(imports, "fail_import", lambda *_: None)
    commits = 1
    while not survives(engine, settings, archive, athlete_id, commits):
        commits += 1
        with engine.begin() as connection:
            connection.execute(update(archive_tables.archive_imports).values(alive_at=NOW))
    assert commits > ACTIVITIES / AT_ONCE
    assert stored(engine) == whole
    # Read again is what was not committed: a part of the files for each death at most.
    assert len(read) <= len(set(read)) + commits * AT_ONCE


def whole_import(engine: Engine, settings: Settings, archive: Path, athlete_id: int) -> dict[str, Any]:
    """What an import leaves that nothing interrupts; the tables are empty again then."""
    hand(engine, settings, archive, athlete_id)
    found = stored(engine)
    with engine.begin() as connection:
        for table in (*COMPARED, archive_tables.archive_imports, tables.athletes):
            connection.execute(table.delete())
    return found


def survives(engine: Engine, settings: Settings, archive: Path, athlete_id: int, commits: int) -> bool:
    """Import, and die right before so many commits are done; whether the import ended before that."""
    left = commits

    def die(_: Connection) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed

    event.listen(engine, "commit", die)
    try:
        hand(engine, settings, archive, athlete_id)
    except Killed:
        return False
    finally:
        event.remove(engine, "commit", die)
    return True


def stored(engine: Engine) -> dict[str, Any]:
    return {table.name: rows_of(engine, table, without=OF_THE_RUN) for table in COMPARED}


@pytest.mark.processes
def test_a_killed_command_leaves_no_reader_and_goes_on(
    engine: Engine, settings: Settings, archive: Path, athlete_id: int, warm_processes: WarmProcesses
) -> None:
    assert settings.database_url is not None
    arguments = ("archive", "import", str(archive), "--athlete", str(athlete_id), "--no-analysis")
    with warm_processes.start_silent(COMMAND, *arguments, env=os.environ) as killed:
        children = eventually(
            lambda: reading(killed.pid) if count(engine, tables.activities) else [], "recordings are read"
        )
        killed.kill()
    eventually(lambda: not any(map(psutil.pid_exists, children)), "the reader ends with the command")
    # It had signed on a moment ago; on this host its process is seen to be gone, so nobody waits.
    report = hand_in(engine, settings, handing(archive, athlete_id), here)
    assert report.rows == ACTIVITIES
    assert count(engine, tables.activities) == ACTIVITIES + 1


def reading(pid: int) -> list[int]:
    """The processes that read for a command."""
    return [child.pid for child in psutil.Process(pid).children() if "archive_reader" in " ".join(child.cmdline())]


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
