"""Where the lake's files are, and their deletion: what needs no Arrow, so that it works without the extra ``lake``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import fsspec

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.months import Span, month_span, parse_month


def erase_athlete_points(url: str, athlete_id: int) -> None:
    """Delete all files of an athlete, if there are any. Call it after the athlete's rows are deleted.

    ``WarehouseError`` if a file cannot be deleted.
    """
    filesystem, root = open_lake(url)
    folder = f"{root}/athlete_id={athlete_id}"
    try:
        if filesystem.exists(folder):
            filesystem.rm(folder, recursive=True)
    except OSError as error:
        raise WarehouseError(
            f"files of athlete {athlete_id} in the lake at {url} cannot be removed: {reason_of(error)}"
        ) from error


def months_before(url: str, moment: datetime) -> list[Span]:
    """Return the months with files that began before ``moment`` (UTC), each an athlete's."""
    filesystem, root = open_lake(url)
    found = []
    for path in sorted(filesystem.glob(f"{root}/athlete_id=*/month=*")):
        athlete, month = (part.partition("=")[2] for part in str(path).rstrip("/").split("/")[-2:])
        start = parse_month(month)
        if start < moment:
            found.append(month_span(int(athlete), start))
    return found


def open_lake(url: str) -> tuple[Any, str]:
    """Return the file system of the lake's address, and the path in it; errors as of :func:`open_folder`."""
    return open_folder(url, "STRAVA_LAKE_URL")


def open_folder(url: str, setting: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    ``ConfigurationError``, with the ``setting``'s name, if it names none, or one whose package is not installed.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{setting} is not usable: {reason_of(error)}") from None
    return filesystem, str(root).rstrip("/")


def reason_of(error: BaseException) -> str:
    """Return the first line of what an error says, or else its class."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
