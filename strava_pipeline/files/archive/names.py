"""Which members of an archive are read, counted, or left alone, judged by their names only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

ACTIVITIES: Final = "activities.csv"
PROFILE: Final = "profile.csv"
BIKES: Final = "bikes.csv"
SHOES: Final = "shoes.csv"
PREFERENCES: Final = "general_preferences.csv"
# All other tables tell about other people, or of logins and letters.
TABLES: Final = frozenset({ACTIVITIES, PROFILE, BIKES, SHOES, PREFERENCES})
RECORDINGS: Final = "activities/"
MEDIA: Final = "media/"
# People pack an archive again with the folder in front, rarely with one more.
_DEEPEST_FOLDER: Final = 2
# A drive of Windows, a backslash, a control character, or half of a surrogate pair.
_ODD: Final = re.compile(r"^[A-Za-z]:|[\\\x00-\x1f\x7f\ud800-\udfff]")
# A zip can name a member by 65,535 bytes, of which an index of Postgres holds 2,700.
_LONGEST_NAME: Final = 500


class Part(Enum):
    """What a member is to us."""

    TABLE = auto()
    RECORDING = auto()
    MEDIA = auto()
    OTHER = auto()


def is_stray(name: str) -> bool:
    """Whether a name points out of the archive, or is none that Strava writes."""
    parts = name.split("/")
    return len(name) > _LONGEST_NAME or bool(_ODD.search(name)) or any(part in {"", ".", ".."} for part in parts)


def is_clutter(name: str) -> bool:
    """Whether macOS added this member."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def folder_in_front(names: Iterable[str]) -> str:
    """Return the folder that activities.csv is in, with its slash; empty if at the top, nowhere, or in several."""
    folders = {name[: -len(ACTIVITIES)] for name in names if f"/{name}".endswith(f"/{ACTIVITIES}")}
    highest = min((folder.count("/") for folder in folders), default=0)
    found = [folder for folder in folders if folder.count("/") == highest]
    return found[0] if len(found) == 1 and highest <= _DEEPEST_FOLDER else ""


def part_of(name: str) -> Part:
    """Return what a member is, by its name behind the folder in front."""
    if name in TABLES:
        return Part.TABLE
    if name.startswith(RECORDINGS) and name.count("/") == 1:
        return Part.RECORDING
    return Part.MEDIA if name.startswith(MEDIA) else Part.OTHER
