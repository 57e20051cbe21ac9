"""Measures how much the plain package adds to a Dagster: megabytes of installed files, package by package.

Two environments of their own: one with Dagster and its webserver, as a host has them, and one with our wheel beside
them. Both hold the versions of constraints.txt, and modules compiled as pip compiles them. ``--extras lake,pictures``
weighs extras, too. Needs the network.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from benchmarks.figure import show
from strava_pipeline_tests.distribution import ROOT, Environment, build

HOST = ("dagster", "dagster-webserver")
MOST_MB = 220.0
MB = 1e6
# Lighter ones are told together.
LEAST_SHOWN_MB = 0.5


def main() -> None:
    """Install twice, and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", default="", help="names of extras, separated by commas")
    extras = parser.parse_args().extras
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as name:
        folder = Path(name)
        wheel, _ = build(folder / "dist")
        host = _weights(folder / "host", *HOST)
        guest = _weights(folder / "guest", *HOST, f"strava-pipeline[{extras}] @ {wheel.as_uri()}")
    added = {package: guest[package] - host.get(package, 0.0) for package in guest}
    shown = {package: weight for package, weight in added.items() if weight >= LEAST_SHOWN_MB}
    show("Dagster and its webserver", sum(host.values()), "MB")
    for package in sorted(shown, key=shown.__getitem__, reverse=True):
        show(package, shown[package], "MB")
    show("others", sum(added.values()) - sum(shown.values()), "MB")
    total = sum(added.values())
    show("added to Dagster", total, "MB", "" if extras else f"at most {MOST_MB:.0f}")
    if total > MOST_MB and not extras:
        sys.exit("the plain package is too heavy")


def _weights(folder: Path, *requirements: str) -> dict[str, float]:
    """Megabytes of each package in a new environment."""
    Environment.new(folder).install("--constraint", str(ROOT / "constraints.txt"), *requirements)
    (packages,) = folder.glob("lib/python*/site-packages")
    return {found.name: _bytes_of(found) / MB for found in distributions(path=[str(packages)])}


def _bytes_of(package: Distribution) -> int:
    """The bytes of a package's files, and of their compiled modules, which its list of files leaves out."""
    files = {Path(str(package.locate_file(file))) for file in package.files or ()}
    files |= {Path(importlib.util.cache_from_source(str(file))) for file in files if file.suffix == ".py"}
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
