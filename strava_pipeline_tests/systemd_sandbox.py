"""What systemd does to a service of ours, without systemd: ``python -m ... OPTIONS COMMAND...``, below ``unshare``.

It does so for the lines of a unit that can break a service: the file system is read-only but for the state, the runtime
folder and a temporary folder of its own, other users' folders are closed, rights cannot be gained, memory cannot become
executable, and the user is nobody unless the test runs without root's rights. Filters of system calls and of address
families are left out. ``/opt/strava-pipeline`` is the environment that runs the tests.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
OPT = Path("/opt/strava-pipeline")
KEPT = Path("/mnt")
WRITABLE = ("/dev", "/dev/shm", "/dev/pts", "/proc", "/tmp", "/var/tmp")  # noqa: S108  a namespace of its own
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 38, 65
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1


@dataclass
class Unit:
    """A unit file: its options in their order, as far as our units write them."""

    path: Path
    options: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        self.options = [(name, value) for name, _, value in pairs]

    def all(self, name: str) -> list[str]:
        """The values of an option that may be given several times."""
        return [value for option, value in self.options if option == name]

    def one(self, name: str) -> str:
        """The value of an option that is given once."""
        (value,) = self.all(name)
        return value

    @property
    def command(self) -> list[str]:
        """What is executed."""
        return self.one("ExecStart").split()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the unit itself sets."""
        return dict(pair.split("=", 1) for pair in self.all("Environment"))


def start(
    unit: Unit,
    folders: Mapping[str, Path],
    variables: Mapping[str, str],
    log: Path,
    command: Sequence[str] | None = None,
    *,
    is_root: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a unit's command, or another one in its place; it writes into ``log``.

    ``folders``: by their paths in the unit (``/var/lib/strava-pipeline``), folders of the test's. ``variables`` are
    those of the unit's files. ``is_root``: it stays root, as the tests are, whose Postgres lets nobody else in.
    """
    namespace = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-current-user"]
    binds = [f"--bind={source}:{target}" for target, source in folders.items()]
    root = ["--root"] if is_root else []
    sandbox = ["unshare", *namespace, sys.executable, "-m", __name__, *binds, *root, "--", *(command or unit.command)]
    paths = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with log.open("ab") as output:
        return subprocess.Popen(
            sandbox,
            env=paths | unit.environment | dict(variables),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def of_namespace(process: int) -> list[int]:
    """The processes that share a process's view of the file system, as all of a unit's do."""
    wanted, found = Path(f"/proc/{process}/ns/mnt").readlink(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns" / "mnt").readlink() == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended
    return found


def main(binds: Sequence[str], command: Sequence[str], *, is_root: bool) -> None:
    """Set up the namespace, drop all rights, and become the command."""
    _mount_folders([bind.split(":") for bind in binds])
    libc = ctypes.CDLL(None, use_errno=True)
    _set_read_only(libc, "/", recursive=True, value=True)
    for path in (*WRITABLE, *(bind.split(":")[1] for bind in binds if not bind.endswith("/etc/strava-pipeline"))):
        if os.path.ismount(path):
            _set_read_only(libc, path, recursive=False, value=False)
    os.chdir("/")
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    if os.geteuid() == 0 and not is_root:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
        os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    # From Linux 6.3 on; systemd has a filter of system calls for it.
    libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)
    os.execv(command[0], list(command))  # noqa: S606  the unit's own command


def _mount_folders(binds: Sequence[Sequence[str]]) -> None:
    """Bring every folder to its place, and what is installed to where any user may reach it."""
    _mount("--make-rprivate", "/")
    installed = [CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)]
    needed = [*installed, *(Path(source) for source, _ in binds)]
    _mount("-t", "tmpfs", "tmpfs", str(KEPT))
    for number, path in enumerate(needed):
        (KEPT / str(number)).mkdir()
        _mount("--rbind", str(path), str(KEPT / str(number)))
    covered = {Path("/tmp"), Path("/var/tmp"), *filter(None, map(_closed_above, installed))}  # noqa: S108  its own
    for path in sorted(covered):
        mode = "1777" if path.name == "tmp" else "755"
        _mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", str(path))
    for number, path in enumerate(installed):
        if not path.exists():
            path.mkdir(parents=True)
            _mount("--rbind", str(KEPT / str(number)), str(path))
    for above in ("/opt", *{str(Path(target).parent) for _, target in binds}):
        _cover(Path(above))
    OPT.symlink_to(sys.prefix)
    for number, (_, target) in enumerate(binds, start=len(installed)):
        Path(target).mkdir(exist_ok=True)
        _mount("--rbind", str(KEPT / str(number)), target)


def _cover(folder: Path) -> None:
    """Let there be room for new entries in a folder of the system's: those that are there stay, by links."""
    below = KEPT / f"below-{folder.name}"
    below.mkdir()
    _mount("--rbind", str(folder), str(below))
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    for entry in below.iterdir():
        if entry != OPT:
            (folder / entry.name).symlink_to(entry)


def _closed_above(path: Path) -> Path | None:
    """The highest folder above a path that other users may not enter."""
    return next((above for above in reversed(path.parents) if not above.stat().st_mode & 0o001), None)


def _mount(*arguments: str) -> None:
    subprocess.run(("mount", *arguments), check=True)  # noqa: S607  wherever the system has it


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def _set_read_only(libc: ctypes.CDLL, path: str, *, recursive: bool, value: bool) -> None:
    change = _MountAttributes(_RDONLY if value else 0, 0 if value else _RDONLY)
    flags = _AT_RECURSIVE if recursive else 0
    size = ctypes.sizeof(change)
    done = libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, ctypes.byref(change), size)
    _check(done, path)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--root", action="store_true")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    main(given.bind, given.command, is_root=given.root)
