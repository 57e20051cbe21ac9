"""Builds what users install, checks it, and loads it in empty environments: ``make dist``.

The wheel and the source archive are left in ``dist``. Needs the network, for the packages that the wheel depends on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).parents[1]
PACKAGES = ("strava_pipeline", "webhook_bridge")
# What no import would miss, and users would.
NEEDED = {
    "strava_pipeline/local/dagster.yaml",
    "strava_pipeline/py.typed",
    "webhook_bridge/py.typed",
    "webhook_bridge/static/pages.css",
}
TWINE = "twine==7.0.0"
SQLALCHEMY = ("sqlalchemy>=2.0,<2.1", "sqlalchemy>=2.1,<2.2")
# A host's own definitions, with ours among them.
MERGED = """
import dagster as dg
import sqlalchemy
from strava_pipeline import build_strava_defs

theirs = dg.Definitions(assets=[dg.AssetSpec("activities")])
dg.Definitions.validate_loadable(dg.Definitions.merge(theirs, build_strava_defs()))
print("loads beside Dagster", dg.__version__, "with SQLAlchemy", sqlalchemy.__version__)
"""
# What a project that create-dagster made says to take us in.
PROJECT = "host"
BY_DG = (
    ("scaffold", "defs", "strava_pipeline.StravaComponent", "strava"),
    ("check", "yaml"),
    ("check", "defs"),
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment in ``folder`` with Python as here, and nothing else at first."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Environment:
        """Make an empty one."""
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        return cls(folder)

    def install(self, *requirements: str) -> None:
        """Install packages and what they need, compiled as pip does."""
        _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", self.command("python"), *requirements)

    def command(self, name: str) -> str:
        """Return the path of one of its commands."""
        return str(self.folder / "bin" / name)

    def version_of(self, package: str) -> str:
        """Return the version of an installed package."""
        asked = f"import importlib.metadata as m; print(m.version({package!r}))"
        return subprocess.check_output([self.command("python"), "-c", asked], text=True).strip()


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source archive, and the wheel from it, with the pinned build backend; returns wheel and archive."""
    _uv(
        "build", "--quiet", "--no-build-isolation", "--no-create-gitignore", "--python", sys.executable,
        "--out-dir", str(folder), str(ROOT),
    )  # fmt: skip
    ((wheel,), (archive,)) = (list(folder.glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    return wheel, archive


def faults(wheel: Iterable[str], archive: Iterable[str]) -> Iterator[str]:
    """Tell what is wrong with the names of files in a wheel and in a source archive."""
    files = {name for name in wheel if ".dist-info/" not in name}
    all_ours = _not_ignored()
    ours = {name for name in all_ours if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    yield from (f"the wheel lacks {name}" for name in sorted((ours | NEEDED) - files))
    yield from (f"the wheel has {name}, which is none of ours" for name in sorted(files - ours - NEEDED))
    sources = {name.partition("/")[2] for name in archive} - {"PKG-INFO"}
    wanted = {name for name in all_ours if not name.startswith(".ci/")}
    yield from (f"the archive lacks {name}" for name in sorted(wanted - sources))
    yield from (f"the archive has {name}, which is none of ours" for name in sorted(sources - wanted))


def names_in(wheel: Path, archive: Path) -> tuple[list[str], list[str]]:
    """The names of the files in both."""
    with zipfile.ZipFile(wheel) as zipped, tarfile.open(archive) as tarred:
        return zipped.namelist(), [member.name for member in tarred if member.isfile()]


def main() -> None:
    """Build, check, install and load."""
    if changed := _git("status", "--porcelain"):
        sys.exit(f"commit or remove these files first, which would be in the archive:\n{changed}")
    wheel, archive = build(ROOT / "dist")
    if found := list(faults(*names_in(wheel, archive))):
        sys.exit("\n".join(found))
    # What an index would refuse, such as a README that cannot be shown.
    _uv("tool", "run", "--quiet", "--from", TWINE, "twine", "check", "--strict", str(wheel), str(archive))
    for sqlalchemy in SQLALCHEMY:
        with tempfile.TemporaryDirectory(prefix="strava-pipeline-dist-") as folder:
            _load(wheel, sqlalchemy, Path(folder))


def _load(wheel: Path, sqlalchemy: str, folder: Path) -> None:
    """Load the wheel in an empty environment: in definitions of a host, and in a new project of Dagster's."""
    environment = Environment.new(folder / "venv")
    environment.install(str(wheel), "dagster-dg-cli", sqlalchemy)
    _run(environment.command("python"), "-W", "ignore", "-c", MERGED, folder=folder)
    _run(environment.command("strava-pipeline"), "--version", folder=folder)
    project = folder / PROJECT
    # The project asks for the very version of Dagster that belongs to create-dagster.
    maker = f"create-dagster=={environment.version_of('dagster')}"
    _uv("tool", "run", "--quiet", "--from", maker, "create-dagster", "project", "--no-uv-sync", str(project))
    environment.install("--editable", str(project))
    for arguments in BY_DG:
        _run(environment.command("dg"), *arguments, folder=project)


def _not_ignored() -> set[str]:
    """The files of the checkout that are committed, or may be."""
    return set(_git("ls-files", "--cached", "--others", "--exclude-standard").splitlines())


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True)  # noqa: S607  whichever git is there


def _run(*command: str, folder: Path) -> None:
    """Run a program without our settings and away from the checkout, which would be imported in place of the wheel."""
    others = ("STRAVA_", "DAGSTER_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    subprocess.run(command, cwd=folder, env=kept | {"STRAVA_HOME": str(folder / "home")}, check=True)


def _uv(*arguments: str) -> None:
    subprocess.run([find_uv_bin(), *arguments], check=True)


if __name__ == "__main__":
    main()
