"""What files of the watched folder are handed in with: each is an archive import of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from sqlalchemy import Engine

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_analysis import analyse_rest
from strava_pipeline.sync.archive_single import hand_in_file
from strava_pipeline.sync.archive_source import HandedZip
from strava_pipeline.sync.files_folder import LONGEST_NAME, folder_of
from strava_pipeline.sync.folder_import import FolderWork, TakenFor
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.states import ImportStep


def folder_work(settings: Settings, engine: Engine, kept: Kept = EVERYTHING) -> FolderWork:
    """Return what files are taken with; ``ConfigurationError`` if no folder is watched."""

    def hand_in(athlete_id: int, name: str, body: bytes) -> TakenFor:
        # A copy that nobody else can change or replace; its name is one that a table can hold.
        with TemporaryDirectory() as folder:
            path = Path(folder, _harmless(name))
            path.write_bytes(body)
            found = hand_in_file(engine, settings, path, athlete_id=athlete_id)
        if found.fault is not None:
            raise UnreadableFile(found.fault)
        if found.activity_id is None or found.start is None:
            raise UnreadableFile("it was read, and is no activity: it was deleted at Strava, or tells no time")
        return TakenFor(found.activity_id, found.start)

    def hand_in_archive(athlete_id: int, name: str, file: BinaryIO) -> None:
        handed = HandedZip(_harmless(name), file)
        found = hand_in_file(engine, settings, handed, athlete_id=athlete_id)
        if found.fault is not None:
            raise UnreadableFile(found.fault)
        if ImportStep.FIGURES in kept.steps:
            for _ in analyse_rest(engine, athlete_id):
                pass

    return FolderWork(engine, folder_of(settings), hand_in, hand_in_archive, settings.mail_max_age, kept)


def _harmless(name: str) -> str:
    return printable(name, LONGEST_NAME).strip(". ") or "file"
