"""How much memory the programs of this installation may use: the machine's, or less where a control group limits it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
# The file with a group's limit by version of control groups, and the folder below which its groups are.
_LIMITS = {1: ("memory", "memory.limit_in_bytes"), 2: ("", "memory.max")}


def usable_memory() -> int:
    """Return the bytes that this process and its children may use together: the lowest limit that holds for them."""
    return min([psutil.virtual_memory().total, *_limits()])


def _limits() -> Iterator[int]:
    """Yield the limits of this process' control groups, and of those around them."""
    for line in _own_groups():
        _, kinds, name = line.split(":", 2)
        version = 1 if "memory" in kinds.split(",") else 2 if not kinds else None
        if version is None:
            continue
        folder, file = _LIMITS[version]
        # In a container the name may be that of the host, of which the container sees its own part only: as the root.
        group = PurePosixPath(name)
        for each in (group, *group.parents):
            limit = _read(GROUPS / folder / str(each).lstrip("/") / file)
            if limit.isdecimal():
                yield int(limit)


def _own_groups() -> list[str]:
    return _read(OWN_GROUPS).splitlines()


def _read(path: Path) -> str:
    """What a file holds; nothing where the kernel does not have it."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
