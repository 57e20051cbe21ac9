"""Checks of where files come in: the watched folder, and the place of uploads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from strava_pipeline.cli.doctor.database_checks import TABLES, looking, reading
from strava_pipeline.cli.doctor.findings import Check, Finding, fail, ok, warn
from strava_pipeline.settings import Settings
from strava_pipeline.sync.files_folder import look, waiting_files
from strava_pipeline.warehouse.upload_files import (
    RESERVE_BYTES,
    FolderFiles,
    holds_something_else,
    open_upload_files,
)
from strava_pipeline.warehouse.uploads.rows import bytes_to_come, old_uploads, upload_ids


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


def check_uploads(settings: Settings) -> Iterator[Finding]:
    """Look where uploads lie: whether the place can be written, has room, and holds none that should be gone."""
    if settings.upload_url is None and not settings.keeps_data_in_home:
        yield ok("none are taken: this container has no STRAVA_UPLOAD_URL")
        return
    place = settings.upload_location()
    files = open_upload_files(place)
    troubles = list(_folder_troubles(files.root)) if isinstance(files, FolderFiles) else []
    stored, free = files.stored(), files.free_bytes()
    with reading(settings) as connection:
        coming, known, old = bytes_to_come(connection), upload_ids(connection), old_uploads(connection)
    if free is not None and free < coming + RESERVE_BYTES:
        needed = f"{coming:,} bytes are on their way, and 1 GB is left free"
        troubles.append(warn(f"{place} has {free:,} bytes left: {needed}", "make room, or set STRAVA_UPLOAD_URL"))
    if left := old + sum(upload not in known for upload in stored):
        troubles.append(
            warn(f"{left} upload(s) at {place} should have been deleted", "start the bridge, which does it")
        )
    yield from troubles
    if not troubles:
        yield ok(f"{place}, which the runs have to see, too; {len(stored)} there")


def _folder_troubles(root: Path) -> Iterator[Finding]:
    """What keeps this process from writing into a folder; nothing is made there."""
    exists = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not exists.is_dir():
        yield fail(f"{exists} is no folder, so that nothing can be uploaded", SHARE)
    elif not os.access(exists, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        yield fail(f"{exists} cannot be written, so that nothing can be uploaded", SHARE)
    elif exists == root and holds_something_else(root):
        yield fail(f"{root} holds something else already, so that nothing can be uploaded", "name an empty folder")


SHARE = "let the bridge write there, or set STRAVA_UPLOAD_URL to a folder that bridge and runs share"
FOLDER_CHECKS = (
    Check("watched folder", check_files_folder, "docs/files-folder.md says what the folder needs"),
    Check("uploads", check_uploads, "docs/upload.md says where uploads may lie", needs=TABLES),
)
