"""Which files of the machine a run may be told to import: whoever launches runs is not who may read everything here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.upload_files import FolderFiles, open_upload_files

_SYSTEM: Final = (Path("/dev"), Path("/proc"), Path("/sys"))


def allowed_place(settings: Settings, given: str, athlete_id: int) -> Path:
    """Return a path that a run's config gives, without links.

    ``ConfigurationError`` for one that is not absolute, for STRAVA_HOME with what is in it and around it, and for what
    lies among uploads or in the watched folder, but not for this athlete.
    """
    if not Path(given).is_absolute():
        raise ConfigurationError(f"path {given} is not absolute: runs work in a folder of their own")
    path = Path(given).resolve()
    uploads = open_upload_files(settings.upload_location())
    for shared in filter(None, (uploads.root if isinstance(uploads, FolderFiles) else None, settings.files_folder)):
        theirs = shared.resolve() / str(athlete_id)
        if path.is_relative_to(theirs):
            return path
        if _overlap(path, shared.resolve()):
            raise ConfigurationError(f"{given} is refused: of {shared} a run for this athlete reads {theirs} alone")
    if _overlap(path, settings.home.resolve()) or any(path.is_relative_to(folder) for folder in _SYSTEM):
        raise ConfigurationError(f"{given} is refused: it is no place for archives; put the file into another folder")
    return path


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
