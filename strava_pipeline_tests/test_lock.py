"""What gets installed is what was locked: every file by its hash, the build backend included."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "constraints.txt").read_text(encoding="utf-8")
ENTRIES = re.split(r"\n(?=\S)", LOCK.strip())


def pins() -> dict[str, str]:
    """Name to version, of everything locked."""
    locked = [Requirement(entry.partition("\\")[0].strip()) for entry in ENTRIES]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in locked}


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_the_image_holds_what_is_locked(name: str) -> None:
    part = (ROOT / "deploy" / "container" / f"{name}.txt").read_text(encoding="utf-8")
    assert set(re.split(r"\n(?=\S)", part.strip())) <= set(ENTRIES)


def test_the_image_holds_all_that_the_package_needs_and_nothing_for_developers() -> None:
    text = (ROOT / "deploy" / "container" / "runtime.txt").read_text(encoding="utf-8")
    kept = {canonicalize_name(line.partition("=")[0]) for line in text.splitlines() if not line.startswith(" ")}
    extras = PROJECT["project"]["optional-dependencies"].keys() - {"dev"}
    read: set[tuple[str, frozenset[str]]] = set()
    unread = {(PROJECT["project"]["name"], frozenset(extras))}
    while unread:
        name, asked = unread.pop()
        read.add((name, asked))
        installed = distribution(name)
        # Another version than the image's, such as the lowest that works, may need other packages.
        needed = installed.requires if installed.version == pins().get(name, installed.version) else None
        for one in map(Requirement, needed or ()):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *asked)):
                unread |= {(canonicalize_name(one.name), frozenset(one.extras))} - read
    assert {name for name, _ in read} - kept == {PROJECT["project"]["name"]}
    # The rest is for other systems.
    assert not kept & {"pytest", "hypothesis", "mypy", "ruff", "uv", "playwright", "hatchling", "pip"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.partition("=")[0])
def test_each_package_is_pinned_and_each_of_its_files_has_a_hash(entry: str) -> None:
    head, *hashes = entry.split(" \\\n")
    assert re.fullmatch(r"[a-z0-9-]+==[^\s;]+( ; .+)?", head)
    assert hashes
    assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


def test_what_works_contains_what_is_locked() -> None:
    groups = (PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values())
    locked = pins()
    for wanted in map(Requirement, (line for group in groups for line in group)):
        # The extra for developers names the others.
        if wanted.name != PROJECT["project"]["name"]:
            assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), wanted


def test_the_build_backend_and_all_it_needs_are_those_of_the_lock() -> None:
    locked = pins()
    pinned = {one.name: str(one.specifier) for one in map(Requirement, PROJECT["build-system"]["requires"])}
    below = [Requirement(line) for line in distribution("hatchling").requires or ()]
    needed = {"hatchling", *(one.name for one in below if one.marker is None or one.marker.evaluate())}
    assert pinned == {name: f"=={locked[name]}" for name in needed}
    assert f"hatchling=={locked['hatchling']}" in PROJECT["dependency-groups"]["build"]


def test_an_installation_takes_nothing_without_a_hash() -> None:
    make = shutil.which("make")
    assert make is not None
    told = subprocess.run(
        [make, "--dry-run", "--always-make", "install"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    commands = [set(line.split()) for line in told.stdout.replace("\\\n", "").splitlines()]
    installing = [words for words in commands if {"pip", "install"} <= words]
    assert installing
    for words in installing:
        nothing_fetched = {"--no-index", "--no-deps", "--no-build-isolation"} <= words
        assert nothing_fetched or {"--require-hashes", "--no-deps", "--only-binary"} <= words
