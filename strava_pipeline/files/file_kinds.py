"""The formats of recordings. Without numerics, so that what only names a format loads none."""

from __future__ import annotations

from enum import StrEnum


class FileKind(StrEnum):
    """The formats of recordings."""

    FIT = "fit"
    TCX = "tcx"
    GPX = "gpx"
