"""POSIX access control lists, by which one user or group may traverse a folder that is closed to all others.

The kernel keeps a list in an extended attribute (Linux only). See acl(5), and for the binary form
``include/uapi/linux/posix_acl_xattr.h``. The standard library has no functions for access lists.
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
TRAVERSE = 1
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF
_NO_LIST = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS)


class Tag(IntEnum):
    """The kind of an entry: the owner, a named user, the owning group, a named group, the mask, or all others."""

    OWNER = 0x01
    USER = 0x02
    OWNING_GROUP = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHERS = 0x20


_MASKED = (Tag.USER, Tag.OWNING_GROUP, Tag.GROUP)


@dataclass(frozen=True, order=True)
class AclEntry:
    """An entry of an access list. ``rights``: read 4, write 2, traverse 1, added up; ``who``: id of a user or group."""

    tag: Tag
    who: int
    rights: int


@dataclass(frozen=True)
class Principal:
    """A user with their groups, or a group."""

    tag: Tag
    number: int
    groups: frozenset[int] = frozenset()


def user_principal(number: int, group: int) -> Principal:
    """Return the principal of a user who is in one group only."""
    return Principal(Tag.USER, number, frozenset({group}))


def group_principal(number: int) -> Principal:
    """Return the principal of all members of a group."""
    return Principal(Tag.GROUP, number, frozenset({number}))


def read_entries(path: Path) -> list[AclEntry]:
    """Return the access list of a file or folder; without a list, the three entries that correspond to its mode."""
    mode = path.stat().st_mode
    try:
        raw = _read_attribute(path)
    except OSError as error:
        if error.errno not in _NO_LIST:
            raise
        return [
            AclEntry(Tag.OWNER, _NOBODY, mode >> 6 & 7),
            AclEntry(Tag.OWNING_GROUP, _NOBODY, mode >> 3 & 7),
            AclEntry(Tag.OTHERS, _NOBODY, mode & 7),
        ]
    found = _ENTRY.iter_unpack(raw[_VERSION.size :])
    return [AclEntry(Tag(tag), who, rights) for tag, rights, who in found]


def has_acl(path: Path) -> bool:
    """Whether a file or folder has an access list besides its mode."""
    return any(entry.tag is Tag.MASK for entry in read_entries(path))


def group_and_other_rights(path: Path) -> int:
    """Return the rights of the owning group and of others, as bits of a mode."""
    found = {entry.tag: entry.rights for entry in _under_mask(read_entries(path))}
    return found[Tag.OWNING_GROUP] << 3 | found[Tag.OTHERS]


def may_traverse(path: Path, principal: Principal) -> bool:
    """Whether ``principal`` may traverse a folder, by the kernel's order: owner, named user, groups, others."""
    status, found = path.stat(), _under_mask(read_entries(path))
    if principal.tag is Tag.USER:
        if status.st_uid == principal.number:
            return bool(status.st_mode & stat.S_IXUSR)
        own = [entry for entry in found if entry.tag is Tag.USER and entry.who == principal.number]
        if own:
            return bool(own[0].rights & TRAVERSE)
    theirs = [
        entry
        for entry in found
        if (entry.tag is Tag.GROUP and entry.who in principal.groups)
        or (entry.tag is Tag.OWNING_GROUP and status.st_gid in principal.groups)
    ]
    others = [entry for entry in found if entry.tag is Tag.OTHERS]
    return any(entry.rights & TRAVERSE for entry in theirs or others)


def allow_traversal(path: Path, principal: Principal) -> None:
    """Allow ``principal`` to traverse a folder, not to read it; nobody else gets more rights.

    ``OSError`` with ``EOPNOTSUPP`` if the file system has no access lists.
    """
    if may_traverse(path, principal):
        return
    kept = [entry for entry in _under_mask(read_entries(path)) if entry.tag is not Tag.MASK]
    own = next((e for e in kept if (e.tag, e.who) == (principal.tag, principal.number)), None)
    kept = [entry for entry in kept if entry != own]
    kept.append(AclEntry(principal.tag, principal.number, TRAVERSE | (own.rights if own else 0)))
    _write(path, kept)


def remove_other_rights(path: Path) -> None:
    """Remove all rights of the owning group and of others; users and groups in the list keep their rights."""
    kept = [entry for entry in _under_mask(read_entries(path)) if entry.tag is not Tag.MASK]
    if not any(entry.tag in (Tag.USER, Tag.GROUP) for entry in kept):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o077)
        return
    closed = (Tag.OWNING_GROUP, Tag.OTHERS)
    _write(path, [replace(entry, rights=0) if entry.tag in closed else entry for entry in kept])


def _read_attribute(path: Path) -> bytes:
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.getxattr(path, ATTRIBUTE)


def _under_mask(found: list[AclEntry]) -> list[AclEntry]:
    """Return the entries with their rights under the mask, so that a new, wider mask does not extend them."""
    mask = next((entry.rights for entry in found if entry.tag is Tag.MASK), 7)
    return [replace(entry, rights=entry.rights & mask) if entry.tag in _MASKED else entry for entry in found]


def _write(path: Path, wanted: list[AclEntry]) -> None:
    """Set an access list, with the mask that its entries need."""
    mask = reduce(or_, (entry.rights for entry in wanted if entry.tag in _MASKED), 0)
    listed = sorted([*wanted, AclEntry(Tag.MASK, _NOBODY, mask)])
    packed = b"".join(_ENTRY.pack(entry.tag, entry.rights, entry.who) for entry in listed)
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    os.setxattr(path, ATTRIBUTE, _VERSION.pack(2) + packed)
