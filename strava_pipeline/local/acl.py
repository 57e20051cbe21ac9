"""Lets one user or group pass a folder that is closed to all others, by an entry in its access list.

POSIX access lists, as the kernel keeps them in an extended attribute (Linux only; see acl(5) and, for the form,
``include/uapi/linux/posix_acl_xattr.h``). The standard library knows none.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import reduce
from operator import or_
from pathlib import Path

ATTRIBUTE = "system.posix_acl_access"
PASS = 1
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF
_NO_LIST = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS)


class Tag(IntEnum):
    """Whom an entry is about."""

    OWNER = 0x01
    USER = 0x02
    OWNING_GROUP = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHERS = 0x20


_MASKED = (Tag.USER, Tag.OWNING_GROUP, Tag.GROUP)


@dataclass(frozen=True, order=True)
class Entry:
    """What one of them may do: read 4, write 2, pass 1, added up. ``who`` is the number of a named user or group."""

    tag: Tag
    who: int
    rights: int


@dataclass(frozen=True)
class Somebody:
    """Who shall pass: a user with the groups they are in, or a group."""

    tag: Tag
    number: int
    groups: frozenset[int] = frozenset()


def a_user(number: int, group: int) -> Somebody:
    """A user who is in one group only."""
    return Somebody(Tag.USER, number, frozenset({group}))


def a_group(number: int) -> Somebody:
    """Whoever is in a group."""
    return Somebody(Tag.GROUP, number, frozenset({number}))


def entries(path: Path) -> list[Entry]:
    """The access list of a file or folder; where there is none, the three entries that its mode stands for."""
    mode = path.stat().st_mode
    try:
        raw = _stored(path)
    except OSError as error:
        if error.errno not in _NO_LIST:
            raise
        return [
            Entry(Tag.OWNER, _NOBODY, mode >> 6 & 7),
            Entry(Tag.OWNING_GROUP, _NOBODY, mode >> 3 & 7),
            Entry(Tag.OTHERS, _NOBODY, mode & 7),
        ]
    found = _ENTRY.iter_unpack(raw[_VERSION.size :])
    return [Entry(Tag(tag), who, rights) for tag, rights, who in found]


def has_list(path: Path) -> bool:
    """Whether a file or folder has an access list of its own, beyond its mode."""
    return any(entry.tag is Tag.MASK for entry in entries(path))


def unnamed_rights(path: Path) -> int:
    """What the owning group and others may do, as the bits of a mode."""
    found = {entry.tag: entry.rights for entry in _effective(entries(path))}
    return found[Tag.OWNING_GROUP] << 3 | found[Tag.OTHERS]


def may_pass(path: Path, somebody: Somebody) -> bool:
    """Whether ``somebody`` may pass a folder; as the kernel decides: owner, named user, groups, others."""
    status, found = path.stat(), _effective(entries(path))
    if somebody.tag is Tag.USER:
        if status.st_uid == somebody.number:
            return bool(status.st_mode & stat.S_IXUSR)
        own = [entry for entry in found if entry.tag is Tag.USER and entry.who == somebody.number]
        if own:
            return bool(own[0].rights & PASS)
    theirs = [
        entry
        for entry in found
        if (entry.tag is Tag.GROUP and entry.who in somebody.groups)
        or (entry.tag is Tag.OWNING_GROUP and status.st_gid in somebody.groups)
    ]
    others = [entry for entry in found if entry.tag is Tag.OTHERS]
    return any(entry.rights & PASS for entry in theirs or others)


def let_pass(path: Path, somebody: Somebody) -> None:
    """Let ``somebody`` pass a folder, not read it, and nobody else do more than before.

    ``OSError`` with ``EOPNOTSUPP`` where the file system has no access lists.
    """
    if may_pass(path, somebody):
        return
    kept = [entry for entry in _effective(entries(path)) if entry.tag is not Tag.MASK]
    own = next((e for e in kept if (e.tag, e.who) == (somebody.tag, somebody.number)), None)
    kept = [entry for entry in kept if entry != own]
    kept.append(Entry(somebody.tag, somebody.number, PASS | (own.rights if own else 0)))
    _write(path, kept)


def close_to_others(path: Path) -> None:
    """Take all rights from the owning group and from others; users and groups that the list names keep theirs."""
    kept = [entry for entry in _effective(entries(path)) if entry.tag is not Tag.MASK]
    if not any(entry.tag in (Tag.USER, Tag.GROUP) for entry in kept):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o077)
        return
    closed = (Tag.OWNING_GROUP, Tag.OTHERS)
    _write(path, [replace(entry, rights=0) if entry.tag in closed else entry for entry in kept])


def _stored(path: Path) -> bytes:
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.getxattr(path, ATTRIBUTE)


def _effective(found: list[Entry]) -> list[Entry]:
    """What the mask leaves of each entry: a wider mask must not give back what it had taken."""
    mask = next((entry.rights for entry in found if entry.tag is Tag.MASK), 7)
    return [replace(entry, rights=entry.rights & mask) if entry.tag in _MASKED else entry for entry in found]


def _write(path: Path, wanted: list[Entry]) -> None:
    """Set an access list; its mask is what its entries need."""
    mask = reduce(or_, (entry.rights for entry in wanted if entry.tag in _MASKED), 0)
    listed = sorted([*wanted, Entry(Tag.MASK, _NOBODY, mask)])
    packed = b"".join(_ENTRY.pack(entry.tag, entry.rights, entry.who) for entry in listed)
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    os.setxattr(path, ATTRIBUTE, _VERSION.pack(2) + packed)
