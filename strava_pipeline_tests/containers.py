"""Our image, built and run by Buildah with chroot isolation, which needs no rights but root's.

Containers share the network and the processes of this machine, and the root file system of the image; each has volumes
and a ``/tmp`` of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).parents[1]
SUITE = "bookworm"
SOURCES = Path("/etc/apt/sources.list.d")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Where the secrets of a build are while it uses them.
SECRETS = "/run/secrets"
# Stands in each file of this machine's settings of packages, and so may stand in no layer.
CANARY = "settings-of-the-building-machine"
HOME = "/var/lib/strava-pipeline"
# Which the image is built with besides: small, and needed by nothing of ours.
PACKAGE = "iniconfig"
USER = 10001
BUILD_SECONDS = 1500
RUN_SECONDS = 600
_PIPS = re.compile(r"^[^.]+\.(index-url|extra-index-url|trusted-host|proxy)='(https?://.*|[^/]*)'$")


@dataclass(frozen=True)
class Buildah:
    """Buildah with storage of its own in ``folder``."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of one call."""
        storage = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"))
        return [program("buildah"), "--storage-driver", "vfs", *storage, *arguments]

    def __call__(self, *arguments: str) -> str:
        """What one call prints; it must succeed."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """The image that was built from ``revision``, and its files as this machine sees them."""

    buildah: Buildah
    name: str
    revision: str
    # Buildah's name of what its commands run in.
    working: str
    root: Path

    @cached_property
    def inspected(self) -> str:
        """All that Buildah tells of it, with its history, as JSON."""
        return self.buildah("inspect", "--type", "image", self.name)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """What engines go by."""
        found: dict[str, Any] = json.loads(self.inspected)["Docker"]["config"]
        return found

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nobody write to its files during the block, root neither."""
        # Buildah binds a file of this name into each container, and cannot make it then.
        mark = self.root / "run" / ".containerenv"
        mark.touch()
        subprocess.run(["mount", "--bind", str(self.root), str(self.root)], check=True)  # noqa: S607  Debian's
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(self.root)], check=True)  # noqa: S607  Debian's
            yield
        finally:
            subprocess.run(["umount", str(self.root)], check=True)  # noqa: S607  Debian's
            mark.unlink()


@dataclass(frozen=True)
class Container:
    """A container: its variables, and its volumes by their folders in it. ``folder`` holds what is its own."""

    image: Image
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, Path] = field(default_factory=dict)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run what the image runs for these arguments, to its end."""
        return self.execute(*self.command_of(*arguments))

    def output(self, *arguments: str) -> str:
        """What a command that must succeed prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run any command in it to its end, also beside what runs there."""
        return subprocess.run(self._call(command), capture_output=True, text=True, timeout=RUN_SECONDS, check=False)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Running]:
        """Run what the image runs for these arguments during the block."""
        log = self.folder / "log"
        with (
            log.open("wb") as told,
            subprocess.Popen(self._call(self.command_of(*arguments)), stdout=told, stderr=told) as process,
        ):
            try:
                yield Running(self, process, log)
            finally:
                if process.poll() is None:
                    for below in psutil.Process(process.pid).children(recursive=True):
                        below.kill()

    def is_healthy(self) -> bool:
        """What the image's own check says."""
        kind, *check = self.image.configuration["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*check).returncode == 0

    def command_of(self, *arguments: str) -> list[str]:
        """What an engine runs for these arguments."""
        configuration = self.image.configuration
        return [*configuration["Entrypoint"], *(arguments or configuration["Cmd"])]

    def _call(self, command: Sequence[str]) -> list[str]:
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o1777)
        options = [f"--env={name}={value}" for name, value in self.variables.items()]
        options += [f"--volume={here}:{there}" for there, here in ({"/tmp": temporary} | self.volumes).items()]  # noqa: S108  the container's
        return self.image.buildah.command("run", "--isolation", "chroot", *options, self.image.working, "--", *command)


@dataclass(frozen=True)
class Running:
    """What runs in a container."""

    container: Container
    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> int:
        """Send SIGTERM to its first process, as engines do; returns the exit code, which has to come in time."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        next(process for process in below if process.name() == "tini").terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def await_health(self) -> None:
        """Wait until the image's check says that it works."""

        def is_healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")
            return self.container.is_healthy()

        eventually(is_healthy, f"health of {self.container.folder.name}")


def program(name: str) -> str:
    """The path of a program; ``AssertionError`` if this machine has none."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path is not None, f"no {name} on PATH: install it from Debian's packages"
    return path


@contextmanager
def built_image(folder: Path) -> Iterator[Image]:
    """Build the image from a clean clone of HEAD, on a base of Debian's packages, with all files in ``folder``."""
    buildah = Buildah(folder)
    clone = folder / "clone"
    _git("clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
    revision = _git("-C", str(clone), "rev-parse", "HEAD")
    base = _base(buildah)
    try:
        buildah(
            # Without a format, Buildah leaves out the health check.
            "bud", "--isolation", "chroot", "--format", "docker", "--pull-never",
            *(f"--secret=id={path.name},src={path}" for path in _secrets(folder)),
            *(f"--build-arg={word}" for word in (f"BASE={base}", "VERSION=0.1.0", f"REVISION={revision}")),
            f"--build-arg=PACKAGES={PACKAGE}",
            "--tag", "strava-pipeline", str(clone),
        )  # fmt: skip
        name = "localhost/strava-pipeline"
        working = buildah("from", "--pull-never", name)
        yield Image(buildah, name, revision, working, Path(buildah("mount", working)))
    finally:
        buildah("rm", "--all")


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], text=True).strip()  # noqa: S607  whichever git is there


def _base(buildah: Buildah) -> str:
    """Make an image of a minimal Debian, as ``debian:bookworm-slim`` is one, but without sources; returns its name."""
    archive = buildah.folder / "base.tar"
    options = [f"--aptopt={line}" for line in _proxies_of_apt()]
    subprocess.run(
        [program("mmdebstrap"), "--quiet", "--variant=minbase", *options, SUITE, str(archive), *map(str, _sources())],
        check=True,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    container = buildah("from", "scratch")
    buildah("add", container, str(archive), "/")
    archive.unlink()
    apt = Path(buildah("mount", container), "etc", "apt")
    for path in (apt / "sources.list", *(apt / "sources.list.d").iterdir()):
        path.unlink(missing_ok=True)
    buildah("commit", "--quiet", container, "debian-base")
    buildah("rm", container)
    return "localhost/debian-base"


def _sources() -> list[Path]:
    """The files that say where this machine gets Debian's packages."""
    found = sorted(SOURCES.glob("*.sources"))
    assert found, f"{SOURCES} has no *.sources: a build needs one"
    return found


def _proxies_of_apt() -> list[str]:
    dump = subprocess.check_output(["apt-config", "dump"], text=True)  # noqa: S607  Debian's
    return [line for line in dump.splitlines() if re.match(r"Acquire::https?::Proxy", line)]


def _secrets(folder: Path) -> list[Path]:
    """Write this machine's settings of packages as secrets of a build; returns the files."""
    told = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    pips = [f"{found[1]} = {found[2]}" for found in map(_PIPS.match, told.splitlines()) if found]
    apts = [f'Dir::Etc::SourceParts "{SECRETS}";', f'Acquire::https::CaInfo "{SECRETS}/ca.crt";', *_proxies_of_apt()]
    texts = {
        "apt.conf": "\n".join((f"// {CANARY}", *apts)),
        "apt.sources": "\n\n".join((f"# {CANARY}", *(path.read_text(encoding="utf-8") for path in _sources()))),
        "ca.crt": f"# {CANARY}\n{CERTIFICATES.read_text(encoding='utf-8')}",
        "pip.conf": "\n".join((f"# {CANARY}", "[global]", f"cert = {SECRETS}/ca.crt", *pips)),
    }
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return [folder / name for name in texts]
