"""docs/kubernetes.md says what the manifests and values say."""

from __future__ import annotations

import re

from strava_pipeline.defs.run_memory import USUAL_MIB
from strava_pipeline_tests.deploy.kubernetes import FOLDER, ROOT, VERSIONS, manifests, user_deployment, values

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\s*\| (.+?) \| (.+?) \|(?: (.+?) \|)?$", re.MULTILINE)


def rows(heading: str) -> dict[str, tuple[str, ...]]:
    """The rows of the first table below a heading, by their first cell."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return {first: tuple(filter(None, rest)) for first, *rest in _ROW.findall(section)}


def in_words(quantity: str) -> str:
    return re.sub(r"^(\d+)([MG]i)$", r"\1 \2B", quantity).replace("1536 MiB", "1.5 GiB")


def memory_of(resources: dict[str, dict[str, str]]) -> tuple[str, str]:
    return in_words(resources["requests"]["memory"]), in_words(resources["limits"]["memory"])


def test_each_file_is_told() -> None:
    assert set(rows("What is where")) - {"file", "---"} == {f"`{path.name}`" for path in FOLDER.iterdir()}


def test_the_memory_of_each_part_is_told() -> None:
    told = rows("Memory")
    pods = {
        name: manifest["spec"]["template"]["spec"]["containers"][0]["resources"]
        for name, manifest in manifests().items()
        if manifest["kind"] in {"Deployment", "Job"}
    }
    large = f"{USUAL_MIB} MiB"
    assert {part: told[part] for part in told.keys() - {"part", "---"}} == {
        "bridge, each": memory_of(pods["bridge.yaml: Deployment strava-bridge"]),
        "Dagster's UI": memory_of(pods["webserver.yaml: Deployment strava-webserver"]),
        "Dagster's daemon": memory_of(values()["dagsterDaemon"]["resources"]),
        "code location": memory_of(user_deployment()["resources"]),
        "a run": memory_of(user_deployment()["resources"]),
        "a run that may write files of the lake": (large, large),
        "migration": memory_of(pods["migrate.yaml: Job strava-migrate-"]),
    }


def test_each_secret_is_told() -> None:
    named = {name for found in rows("Install") for name in re.findall(r"`([\w-]+)`", found)}
    given = {name for manifest in manifests().values() for name in manifest.get("stringData", ())}
    assert named == given


def test_the_versions_that_manifests_are_checked_against_are_told() -> None:
    assert f"schemas of Kubernetes {VERSIONS[0]} and {VERSIONS[-1]}" in PAGE
