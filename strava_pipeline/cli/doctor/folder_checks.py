"""The check of the watched folder: that its files can be read and moved, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator

from strava_pipeline.cli.doctor.database_checks import looking
from strava_pipeline.cli.doctor.findings import Check, Finding, ok, warn
from strava_pipeline.settings import Settings
from strava_pipeline.sync.files_folder import look, waiting_files


def check_files_folder(settings: Settings) -> Iterator[Finding]:
    """Look through the watched folder, as the bridge does; nothing is read or moved."""
    root = settings.files_folder
    if root is None:
        yield ok("off: STRAVA_FILES_FOLDER is not set")
        return
    look(root)  # without the database, it tells what is amiss with the folder itself
    with looking(settings) as engine:
        found = waiting_files(engine, root)
    for trouble in found.troubles:
        yield warn(trouble)
    if not found.troubles:
        waiting = f"{len(found.files)} file(s) wait" if found.files else "no file waits"
        yield ok(f"{root} is watched, and {waiting}")


FOLDER_CHECKS = (Check("watched folder", check_files_folder, "docs/files-folder.md says what the folder needs"),)
