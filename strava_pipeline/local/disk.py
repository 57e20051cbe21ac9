"""Room on the disks of this machine that the pipeline writes to, and when that is too little."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from strava_pipeline.home import HomeEntry
from strava_pipeline.local.home_folder import lake_folder
from strava_pipeline.settings import Settings

# A disk is full before its last byte is gone: Postgres stops, and no event can be stored any more. The share counts on
# a small disk, the bytes on a large one.
FULL_BYTES, FULL_SHARE = 1_000_000_000, 0.05
SCARCE_BYTES, SCARCE_SHARE = 5_000_000_000, 0.1


@dataclass(frozen=True)
class Disk:
    """A disk with ``what`` of ours is on it, at ``path``; ``free_bytes``: what this user may still write."""

    what: str
    path: Path
    free_bytes: int
    total_bytes: int

    @property
    def is_full(self) -> bool:
        """Whether it has to get room at once."""
        return self.free_bytes < min(FULL_BYTES, FULL_SHARE * self.total_bytes)

    @property
    def is_scarce(self) -> bool:
        """Whether it should get room soon; a full disk is scarce, too."""
        return self.free_bytes < min(SCARCE_BYTES, SCARCE_SHARE * self.total_bytes)

    def __str__(self) -> str:
        return f"{_shown(self.free_bytes)} of {_shown(self.total_bytes)} free for {self.what} at {self.path}"


def local_disks(settings: Settings) -> list[Disk]:
    """Return the disks with STRAVA_HOME, the embedded Postgres and the lake, as far as these are on this machine.

    A disk that has several of them is there once. Creates nothing: a folder that is not there yet is looked for above.
    """
    home = settings.home
    folders = {"STRAVA_HOME": home}
    if settings.is_embedded:
        folders["Postgres"] = home / HomeEntry.POSTGRES
    lake = lake_folder(settings)
    if lake is not None:
        folders["the lake"] = lake
    found: dict[int, Disk] = {}
    for what, folder in folders.items():
        path = _nearest(folder)
        number = path.stat().st_dev
        names = f"{found[number].what}, {what}" if number in found else what
        usage = shutil.disk_usage(path)
        found[number] = Disk(names, found[number].path if number in found else path, usage.free, usage.total)
    return list(found.values())


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _shown(count: int) -> str:
    """A number of bytes, in the unit that fits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004  the step between units
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
