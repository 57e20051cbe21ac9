"""Takes files from the watched folder: one activity and one mail each, whatever happens in between."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.errors import (
    ArchiveImportRunning,
    ConfigurationError,
    NeedsReauthorization,
    StravaPipelineError,
    UnreadableFile,
    WorkTaken,
)
from strava_pipeline.sync import folder_import
from strava_pipeline.sync.backfill import NotAnalysed
from strava_pipeline.sync.files_folder import WaitingFile, waiting_files
from strava_pipeline.sync.folder_files import CannotMove, FolderFiles
from strava_pipeline.sync.folder_import import (
    LEASE_NAME,
    FolderWork,
    Outcome,
    Refused,
    Stuck,
    TakenFor,
    Took,
    TookArchive,
    take_files,
)
from strava_pipeline.warehouse.kept import Kept
from strava_pipeline.warehouse.pauses import Pauses
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.dropped import drop

MAX_AGE = timedelta(hours=24)


@dataclass
class Hands:
    """Stores an activity for each file but those that begin with ``bad``; the id is of the bytes."""

    engine: Engine
    ended_ago: timedelta = timedelta(hours=1)
    handed: list[str] = field(default_factory=list)

    def __call__(self, athlete_id: int, name: str, body: bytes) -> TakenFor:
        self.handed.append(name)
        if body.startswith(b"bad"):
            raise UnreadableFile("neither FIT, TCX nor GPX")
        start = datetime.now(UTC).replace(microsecond=0) - self.ended_ago - timedelta(hours=1)
        row = {
            "id": -zlib.crc32(body),
            "athlete_id": athlete_id,
            "resource_state": 2,
            "name": "Ride",
            "type": "Ride",
            "sport_type": "Ride",
            "start_date": start,
            "elapsed_time": 3600,
            "fetched_at": start,
            "told_by_api": False,
        }
        with self.engine.begin() as connection:
            connection.execute(insert_or_skip(activities).values(row).on_conflict_do_nothing())
        return TakenFor(-zlib.crc32(body), start)

    def archive(self, athlete_id: int, name: str, file: BinaryIO) -> None:
        self.handed.append(name)
        if b"bad" in file.read():
            raise UnreadableFile("the archive is of another athlete")


@dataclass
class Clock:
    """Time goes on while somebody sleeps."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time(self) -> float:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def hands(engine: Engine) -> Hands:
    return Hands(engine)


@pytest.fixture
def work(engine: Engine, root: Path, hands: Hands) -> FolderWork:
    clock = Clock()
    pauses = Pauses(sleep=clock.sleep)
    return FolderWork(engine, root, hands, hands.archive, MAX_AGE, pauses=pauses, clock=clock.time)


def told(outcomes: Iterable[Outcome]) -> list[tuple[str, object]]:
    return [
        (found.file.name, found.has_mail)
        if isinstance(found, Took)
        else (found.file.name, found.why)
        if isinstance(found, Refused)
        else ("", found.why if isinstance(found, Stuck) else True)
        for found in outcomes
    ]


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def count(engine: Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        rides = connection.execute(select(func.count()).select_from(activities)).scalar_one()
        return rides, connection.execute(select(func.count()).select_from(notifications)).scalar_one()


def test_files_become_activities_with_a_mail_each_and_are_moved(work: FolderWork, engine: Engine, root: Path) -> None:
    drop(root, "7/second.fit", b"2", at=2_000)
    drop(root, "7/first.fit", b"1", at=1_000)
    drop(root, "7/broken.fit", b"bad", at=3_000)
    drop(root, "8/other.fit", b"8")
    assert told(take_files(work, 7)) == [
        ("first.fit", True),
        ("second.fit", True),
        ("broken.fit", "neither FIT, TCX nor GPX"),
    ]
    assert tree(root / "7") == ["done/first.fit", "done/second.fit", "failed/broken.fit", "failed/broken.fit.txt"]
    assert count(engine) == (2, 2)
    assert told(take_files(work, 7)) == []


def test_the_same_bytes_again_are_neither_a_second_activity_nor_a_second_mail(
    work: FolderWork, engine: Engine, root: Path
) -> None:
    drop(root, "7/ride.fit", b"1")
    drop(root, "7/copy of ride.fit", b"1")
    assert [has_mail for _, has_mail in told(take_files(work, 7))].count(True) == 1
    assert count(engine) == (1, 1)
    assert tree(root / "7") == ["done/copy of ride.fit", "done/ride.fit"]


def test_a_zip_is_imported_as_an_archive(work: FolderWork, engine: Engine, root: Path, hands: Hands) -> None:
    drop(root, "7/export_7.zip", b"PK\x03\x04 and so on", at=1_000)
    drop(root, "7/export_8.zip", b"PK\x03\x04 bad", at=2_000)
    first, second = take_files(work, 7)
    assert isinstance(first, TookArchive)
    assert isinstance(second, Refused)
    assert second.why == "the archive is of another athlete"
    assert hands.handed == ["export_7.zip", "export_8.zip"]
    assert count(engine) == (0, 0)
    assert tree(root / "7") == ["done/export_7.zip", "failed/export_8.zip", "failed/export_8.zip.txt"]


def test_a_link_that_takes_a_zips_place_is_not_followed(
    work: FolderWork, root: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(root, "8/done/ride.fit", b"of somebody else")
    drop(root, "7/export_7.zip", b"PK\x03\x04 and so on")
    is_archive = FolderFiles.is_archive

    def replaced(folder: FolderFiles, file: WaitingFile) -> bool:
        found = is_archive(folder, file)
        (root / "7/export_7.zip").unlink()
        (root / "7/export_7.zip").symlink_to("../8/done/ride.fit")
        return found

    monkeypatch.setattr(FolderFiles, "is_archive", replaced)
    assert told(take_files(work, 7)) == []
    assert hands.handed == []


@pytest.mark.parametrize(
    "error",
    [
        ArchiveImportRunning("archive import 3 is at work", 3),
        NeedsReauthorization("the athlete has disconnected"),
        ConfigurationError("the disk is full"),
    ],
)
def test_what_keeps_an_athletes_files_waiting_ends_the_run_in_one_line(
    work: FolderWork, root: Path, error: StravaPipelineError
) -> None:
    drop(root, "7/one.fit", b"1")
    drop(root, "7/two.fit", b"2")

    def refusing(*_: object) -> TakenFor:
        raise error

    assert told(take_files(replace(work, hand_in=refusing), 7)) == [("", str(error))]
    assert tree(root) == ["7/one.fit", "7/two.fit"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("before", ["move_to_done", "enqueue_mail_of_file", "analyse_span"])
def test_who_dies_between_storing_and_moving_leaves_one_activity_and_one_mail_to_the_next(
    work: FolderWork, engine: Engine, root: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(root, "7/ride.fit", b"1")

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FolderFiles if before == "move_to_done" else folder_import, before, die)
        with pytest.raises(Killed):
            list(take_files(work, 7))
    assert tree(root) == ["7/ride.fit"]
    took = list(take_files(work, 7))
    assert [type(each) for each in took] == [Took]
    assert count(engine) == (1, 1)
    assert tree(root) == ["7/done/ride.fit"]


def test_no_mail_about_what_ended_long_ago(work: FolderWork, engine: Engine, root: Path, hands: Hands) -> None:
    hands.ended_ago = MAX_AGE + timedelta(minutes=1)
    drop(root, "7/ride.fit", b"1")
    assert told(take_files(work, 7)) == [("ride.fit", False)]
    assert count(engine) == (1, 0)


def test_a_ride_of_which_a_webhook_told_gets_no_second_mail(work: FolderWork, engine: Engine, root: Path) -> None:
    drop(root, "7/ride.fit", b"1")
    with engine.begin() as connection:
        row = {"activity_id": -zlib.crc32(b"1"), "athlete_id": 7, "kind": "ride_summary", "state": "sent"}
        connection.execute(insert(notifications).values(row))
    assert told(take_files(work, 7)) == [("ride.fit", False)]
    assert count(engine) == (1, 1)


def test_a_file_that_grows_is_left_alone_and_taken_later(
    work: FolderWork, root: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(root, "7/ride.fit", b"1")
    sleep = work.pauses.sleep

    def growing(seconds: float) -> None:
        sleep(seconds)
        with path.open("ab") as stream:
            stream.write(b"more")

    assert told(take_files(replace(work, pauses=Pauses(sleep=growing)), 7)) == []
    assert hands.handed == []
    assert told(take_files(work, 7)) == [("ride.fit", True)]


def test_a_file_that_vanishes_disturbs_nobody(work: FolderWork, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop(root, "7/ride.fit", b"1", at=1_000)
    drop(root, "7/other.fit", b"2", at=2_000)
    read = FolderFiles.read

    def vanishing(folder: FolderFiles, file: WaitingFile) -> bytes:
        path.unlink(missing_ok=True)
        return read(folder, file)

    monkeypatch.setattr(FolderFiles, "read", vanishing)
    assert told(take_files(work, 7)) == [("other.fit", True)]


def test_what_takes_a_files_place_while_it_is_stored_is_taken_as_well(
    work: FolderWork, engine: Engine, root: Path, hands: Hands
) -> None:
    path = drop(root, "7/ride.fit", b"1")

    def replacing(athlete_id: int, name: str, body: bytes) -> TakenFor:
        if body == b"1":
            path.unlink()
            drop(root, "7/ride.fit", b"2")
        return hands(athlete_id, name, body)

    assert told(take_files(replace(work, hand_in=replacing), 7)) == [("ride.fit", True), ("ride.fit", True)]
    assert count(engine) == (2, 2)
    assert (root / "7/done/ride.fit").read_bytes() == b"2"


def test_two_at_once_are_one(work: FolderWork, engine: Engine, root: Path, hands: Hands) -> None:
    drop(root, "7/ride.fit", b"1")
    drop(root, "8/ride.fit", b"2")

    def nobody_waits(_: float) -> None:
        raise AssertionError

    with only_worker(engine, 7, LEASE_NAME, nobody_waits):
        with pytest.raises(WorkTaken):
            list(take_files(work, 7))
        assert hands.handed == []
        assert told(take_files(work, 8)) == [("ride.fit", True)]
    assert told(take_files(work, 7)) == [("ride.fit", True)]


def test_what_cannot_be_moved_is_not_read_and_told(work: FolderWork, root: Path, hands: Hands) -> None:
    drop(root, "7/ride.fit", b"1")
    (root / "7/done").symlink_to(root)
    (stuck,) = take_files(work, 7)
    assert isinstance(stuck, Stuck)
    assert hands.handed == []


def test_a_disk_that_refuses_one_file_keeps_no_other_from_being_taken(
    work: FolderWork, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(root, "7/ride.fit", b"1", at=1_000)
    drop(root, "7/other.fit", b"2", at=2_000)
    read = FolderFiles.read

    def refusing(folder: FolderFiles, file: WaitingFile) -> bytes:
        if file.name == "ride.fit":
            raise CannotMove("7/ride.fit cannot be read: Permission denied")
        return read(folder, file)

    monkeypatch.setattr(FolderFiles, "read", refusing)
    assert told(take_files(work, 7)) == [("", "7/ride.fit cannot be read: Permission denied"), ("other.fit", True)]


def test_what_cannot_be_analysed_is_taken_all_the_same(
    work: FolderWork, engine: Engine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(root, "7/ride.fit", b"1")

    def failing(*_: object) -> None:
        raise NotAnalysed([1], 1)

    monkeypatch.setattr(folder_import, "analyse_span", failing)
    assert told(take_files(work, 7)) == [("ride.fit", True)]


def test_without_figures_nothing_is_analysed(work: FolderWork, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "7/ride.fit", b"1")
    monkeypatch.setattr(folder_import, "analyse_span", lambda *_: pytest.fail("analysed"))
    kept = Kept(frozenset({ImportStep.SUMMARY, ImportStep.STREAMS}))
    assert told(take_files(replace(work, kept=kept), 7)) == [("ride.fit", True)]


def test_the_owners_of_files_are_those_of_the_tables(engine: Engine, root: Path) -> None:
    drop(root, "ride.fit", b"1")
    drop(root, "8/ride.fit", b"2")
    assert waiting_files(engine, root).athletes == {8}
    connect_riders(engine, RIDER)
    assert waiting_files(engine, root).athletes == {RIDER, 8}
    connect_riders(engine, 8, state="revoked")
    found = waiting_files(engine, root)
    assert found.athletes == {RIDER}
    assert len(found.troubles) == 1
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=9, scopes=[], state="archive_only", generation=0))
    assert waiting_files(engine, root).athletes == set()


def test_files_at_the_top_of_a_single_athlete_are_moved_into_their_folder(
    work: FolderWork, engine: Engine, root: Path
) -> None:
    connect_riders(engine, RIDER)
    drop(root, "ride.fit", b"1")
    assert told(take_files(work, RIDER)) == [("ride.fit", True)]
    assert tree(root) == [f"{RIDER}/done/ride.fit"]
