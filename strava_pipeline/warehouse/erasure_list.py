"""The list of erasures: who has left, kept outside the database, so that a backup cannot bring them back.

Each departure is an empty file, whose name says when, whether the data went, and a keyed hash of the athlete's id::

    20261130T164105.250000Z.erased.k1.5f2c...
    20261201T080000.000000Z.disconnected.k1.09ab...

The hash is HMAC-SHA256 with a key derived from the token key ``k1``: without that key the list names nobody. A name
says all, so noting a departure twice changes nothing, any number of processes may do so at once, and none can leave
half an entry. ``keys rotate`` notes the same departures with the new key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.local import private_files
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.lake_files import open_folder, reason_of

log = get_logger(__name__)

SETTING = "STRAVA_ERASURES_URL"
NO_KEYS = "STRAVA_TOKEN_KEYS is not set"
_TIME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)\.(erased|disconnected)\.([A-Za-z0-9_-]{1,32})\.([0-9a-f]{64})")


class Extent(StrEnum):
    """What went with an athlete: the data as well, or tokens and address alone."""

    ERASED = "erased"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Departure:
    """One entry: an athlete, known by a keyed hash, left at a time of the database's clock (UTC)."""

    at: datetime
    extent: Extent
    key_id: str
    hashed: str

    @property
    def name(self) -> str:
        """The name of the entry's file."""
        return f"{self.at.astimezone(UTC):{_TIME}}.{self.extent}.{self.key_id}.{self.hashed}"

    @classmethod
    def parse(cls, name: str) -> Departure | None:
        """Return the entry of a file's name; ``None`` if it is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        at, extent, key_id, hashed = found.groups()
        return cls(datetime.strptime(at, _TIME).replace(tzinfo=UTC), Extent(extent), key_id, hashed)


def departure(keyring: Keyring, athlete_id: int, at: datetime, extent: Extent) -> Departure:
    """Return the entry for an athlete who leaves, hashed with the writing key."""
    key_id = keyring.writing_key_id
    return Departure(at, extent, key_id, _hashed(keyring, key_id, athlete_id))


def note_departure(settings: Settings, athlete_id: int, at: datetime, extent: Extent) -> None:
    """Note that an athlete has left, on disk when this returns. It can be repeated.

    In a container where no place is set there is no list, and neither without an app and keys: that is logged, since
    nobody's erasure waits for a setting. ``ConfigurationError`` for an app without keys, or for an address that is not
    usable; ``WarehouseError`` if it cannot be written.
    """
    try:
        place = settings.erasures_to_write()
    except ConfigurationError as error:
        log.warning("athlete %d is on no list of erasures, and would come back with a backup: %s", athlete_id, error)
        return
    if settings.token_keys is None and settings.client_id is None:
        log.warning("athlete %d is on no list of erasures, and would come back with a backup: %s", athlete_id, NO_KEYS)
        return
    keyring = Keyring.parse(settings.required("token_keys"))
    Folder(place).add(departure(keyring, athlete_id, at, extent))


@dataclass(frozen=True)
class Departures:
    """What lists say, with the keys that open them."""

    keyring: Keyring
    entries: Sequence[Departure]

    def last_of(self, athlete_id: int) -> Departure | None:
        """Return an athlete's last departure; ``None`` without one."""
        hashes = ((key_id, _hashed(self.keyring, key_id, athlete_id)) for key_id in self._known_key_ids)
        theirs = (self._last[each] for each in hashes if each in self._last)
        return max(theirs, key=lambda each: each.at, default=None)

    @property
    def closed_key_ids(self) -> list[str]:
        """The ids of the keys that entries were hashed with and that the keyring lacks, sorted."""
        return sorted({each.key_id for each in self.entries} - self.keyring.keys.keys())

    @cached_property
    def _known_key_ids(self) -> set[str]:
        return {each.key_id for each in self.entries} & self.keyring.keys.keys()

    @cached_property
    def _last(self) -> dict[tuple[str, str], Departure]:
        """The last entry of each hash, by the key's id and the hash."""
        return {(each.key_id, each.hashed): each for each in sorted(self.entries, key=lambda each: each.at)}


def read_departures(keyring: Keyring, urls: Iterable[str]) -> Departures:
    """Return the departures of all these lists.

    ``ConfigurationError`` if one is not there, or if a key that opens an entry is lacking: who left would be unknown.
    """
    found = Departures(keyring, [each for url in urls for each in Folder(url).entries()])
    if found.closed_key_ids:
        raise ConfigurationError(
            f"the list of erasures has entries of key {', '.join(found.closed_key_ids)}, which STRAVA_TOKEN_KEYS lacks:"
            " put it back, behind the first one, so that whoever left stays erased"
        )
    return found


def renew(keyring: Keyring, url: str, athlete_ids: Iterable[int]) -> int:
    """Note departures that other keys hashed with the writing key, and delete the old entries; return how many.

    Only those of ``athlete_ids``, which is everybody who ever connected. An old entry goes once the new one is there.
    """
    folder, writing = Folder(url), keyring.writing_key_id
    entries = folder.entries() if folder.is_there() else []
    olds = [each for each in entries if each.key_id in keyring.keys.keys() - {writing}]
    key_ids = {each.key_id for each in olds}
    whose = {(key_id, _hashed(keyring, key_id, each)): each for each in athlete_ids for key_id in key_ids}
    renewed = 0
    for old in olds:
        athlete_id = whose.get((old.key_id, old.hashed))
        if athlete_id is not None:
            folder.add(replace(old, key_id=writing, hashed=_hashed(keyring, writing, athlete_id)))
            folder.remove(old)
            renewed += 1
    return renewed


@dataclass(frozen=True)
class Folder:
    """The folder of a list: of this machine, or of any storage that fsspec reaches."""

    url: str

    def is_there(self) -> bool:
        """Whether the folder exists, that is, whether anybody ever left, or somebody brought the list along."""
        filesystem, root = self._open()
        return bool(self._told(lambda: filesystem.isdir(root)))

    def entries(self) -> list[Departure]:
        """Return all entries; ``ConfigurationError`` if the folder is not there. Other files are left alone."""
        if not self.is_there():
            raise ConfigurationError(f"there is no list of erasures at {self.url}: bring it along, or name its place")
        filesystem, root = self._open()
        # A listing may be remembered, and others write.
        filesystem.invalidate_cache()
        names = self._told(lambda: filesystem.ls(root, detail=False))
        found = (Departure.parse(str(path).rstrip("/").rpartition("/")[2]) for path in names)
        return sorted(filter(None, found), key=lambda each: each.at)

    def add(self, entry: Departure) -> None:
        """Write an entry, unless it is there; it is on disk when this returns."""
        filesystem, root = self._open()
        if isinstance(filesystem, LocalFileSystem):
            self._told(lambda: _add_here(Path(root), entry.name))
        else:
            self._told(lambda: filesystem.pipe_file(f"{root}/{entry.name}", b""))

    def remove(self, entry: Departure) -> None:
        """Delete an entry, if it is there."""
        filesystem, root = self._open()
        with suppress(FileNotFoundError):
            self._told(lambda: filesystem.rm_file(f"{root}/{entry.name}"))

    def _open(self) -> tuple[Any, str]:
        return open_folder(self.url, SETTING)

    def _told(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except OSError as error:
            raise WarehouseError(f"the list of erasures at {self.url} cannot be used: {reason_of(error)}") from error


def _add_here(folder: Path, name: str) -> None:
    if not folder.is_dir():
        private_files.make_folder(folder)
        private_files.flush(folder.parent)
    with suppress(FileExistsError), private_files.create(folder / name) as file:
        os.fsync(file.fileno())
    private_files.flush(folder)


def _hashed(keyring: Keyring, key_id: str, athlete_id: int) -> str:
    key = Keyring({key_id: keyring.keys[key_id]}).derive_key(KeyPurpose.ERASURES)
    return hmac.digest(key, str(athlete_id).encode(), hashlib.sha256).hex()
