"""Limits of memory and processors for a benchmark's processes, by the kernel's control groups, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
REMOVING_SECONDS = 10.0


@dataclass(frozen=True)
class Group:
    """A control group; in version 1 one folder for each kind of limit."""

    folders: tuple[Path, ...]

    def enter(self) -> None:
        """Put this process, and all that it starts from now on, into the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def take(self, process: psutil.Process) -> None:
        """Put a process into the group, with all that it has started and will start."""
        for each in (process, *process.children(recursive=True)):
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(each.pid), encoding="ascii")

    def killed(self) -> int:
        """Return how many processes the kernel has ended for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            for folder in self.folders:
                if (folder / name).exists():
                    lines = (line.split() for line in (folder / name).read_text(encoding="ascii").splitlines())
                    return next(int(count) for what, count in lines if what == "oom_kill")
        raise OSError("this kernel does not count what it ends for want of memory")


@contextlib.contextmanager
def new_group(memory: int, processors: int) -> Iterator[Group]:
    """Make a group that may use so many bytes and processors, and remove it afterwards.

    ``SystemExit`` names the reason if this user cannot make one.
    """
    name = f"strava-pipeline-benchmark-{os.getpid()}"
    with _made(_limits_v2(name, memory, processors) if _is_v2() else _limits_v1(name, memory, processors)) as group:
        yield group


@contextlib.contextmanager
def new_share(label: str, processors: float) -> Iterator[Group]:
    """Make a group that gets so much time of processors, whichever they are, and remove it afterwards.

    ``label``: tells it from others of this benchmark. ``SystemExit`` as above.
    """
    name, quota = f"strava-pipeline-benchmark-{os.getpid()}-{label}", round(processors * PERIOD_US)
    of_v1 = {ROOT / "cpu" / name / "cpu.cfs_period_us": PERIOD_US, ROOT / "cpu" / name / "cpu.cfs_quota_us": quota}
    with _made(
        {ROOT / name / "cpu.max": f"{quota} {PERIOD_US}"}
        if _is_v2()
        else {path: str(value) for path, value in of_v1.items()}
    ) as group:
        yield group


@contextlib.contextmanager
def _made(limits: Mapping[Path, str]) -> Iterator[Group]:
    group = Group(tuple(dict.fromkeys(path.parent for path in limits)))
    try:
        for path, value in limits.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(value, encoding="ascii")
    except OSError as error:
        raise SystemExit(f"no control group can be made here ({error}): run this as root, or without a limit") from None
    try:
        yield group
    finally:
        for folder in group.folders:
            _remove(folder)


def _is_v2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _limits_v2(name: str, memory: int, processors: int) -> dict[Path, str]:
    folder = ROOT / name
    return {
        folder / "memory.max": str(memory),
        folder / "memory.swap.max": "0",
        folder / "cpu.max": f"{processors * PERIOD_US} {PERIOD_US}",
    }


def _limits_v1(name: str, memory: int, processors: int) -> dict[Path, str]:
    # The quota of `cpu` would let threads run on all processors at once, for a part of the time.
    first = f"0-{processors - 1}"
    return {
        ROOT / "memory" / name / "memory.limit_in_bytes": str(memory),
        ROOT / "cpuset" / name / "cpuset.cpus": first,
        ROOT / "cpuset" / name / "cpuset.mems": (ROOT / "cpuset/cpuset.mems").read_text(encoding="ascii").strip(),
    }


def _remove(folder: Path) -> None:
    """Remove a group; processes that have just ended are in it for a moment."""
    deadline = time.monotonic() + REMOVING_SECONDS
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
