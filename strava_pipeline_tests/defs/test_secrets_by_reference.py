"""Secrets that definitions are told the place of stand in nothing that Dagster keeps or shows of a code location."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.snap import JobSnap

from strava_pipeline.keyring import generate_key
from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_sources import is_secret
from strava_pipeline_tests.defs.guest import webserver
from strava_pipeline_tests.defs.guest_locations import with_secrets
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

SECRETS = [name for name, field in Settings.model_fields.items() if is_secret(field)]
WAREHOUSE = "strava_warehouse"
SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "with_secrets"}
DETAILS = """
  name description resourceType isTopLevel
  configuredValues { key value type }
  configFields { name description isRequired defaultValueAsJson configTypeKey }
  nestedResources { name type resource { configuredValues { key value type } } }
"""
PAGES = """
query Pages($repository: RepositorySelector!, $resource: ResourceSelector!) {
  all: allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
    ... on ResourceDetailsList { results { DETAILS } }
  }
  one: topLevelResourceDetailsOrError(resourceSelector: $resource) { ... on ResourceDetails { DETAILS } }
  repository: repositoryOrError(repositorySelector: $repository) {
    ... on Repository {
      assetNodes { assetKey { path } metadataEntries { label description } tags { key value } op { description } }
      jobs { name tags { key value } modes { resources { name configField { defaultValueAsJson } } } }
    }
  }
}
""".replace("DETAILS", DETAILS)


@pytest.fixture
def canaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A text that stands nowhere else for each secret: where the definitions are told, and where we look ourselves."""
    folder = tmp_path / "canaries"
    folder.mkdir()
    monkeypatch.setenv("CANARIES", str(folder))
    found = {}
    for name in SECRETS:
        for place in ("given", "own"):
            canary = f"canary-{name}-{place}-{generate_key()[-12:-1]}".replace("/", "_")
            found[f"{name}, {place}"] = canary
        value = found[f"{name}, given"]
        monkeypatch.setenv(f"CANARY_{name.upper()}", value)
        (folder / name).write_text(value)
        if name != "dagster_header":
            monkeypatch.setenv(variable_name(name), found[f"{name}, own"])
    return found


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def hits(canaries: dict[str, str], shown: str) -> list[str]:
    return [name for name, canary in canaries.items() if canary in shown]


def test_no_secret_is_in_what_a_code_server_tells_dagster(canaries: dict[str, str]) -> None:
    repository = with_secrets().get_repository_def()
    told = dg.serialize_value(RepositorySnap.from_def(repository))
    told += "".join(dg.serialize_value(JobSnap.from_job_def(job)) for job in repository.get_all_jobs())
    # The place of each is told, so nothing was left out.
    assert [name for name in SECRETS[::2] if f"CANARY_{name.upper()}" not in told] == []
    assert hits(canaries, told) == []


def test_no_secret_is_on_the_pages_of_resources_assets_and_jobs(
    canaries: dict[str, str], instance: dg.DagsterInstance
) -> None:
    variables = {"repository": SELECTOR, "resource": SELECTOR | {"resourceName": WAREHOUSE}}
    with webserver(instance, "with_secrets") as url:
        answer = requests.post(
            f"{url}/graphql", json={"query": PAGES, "variables": variables}, timeout=PATIENCE_SECONDS
        ).json()
    shown: dict[str, Any] = answer["data"]
    assert {each["name"] for each in shown["all"]["results"]} >= {WAREHOUSE, "strava_client", "strava_io_manager"}
    assert f"CANARY_{SECRETS[0].upper()}" in json.dumps(shown["one"])
    assert hits(canaries, json.dumps(shown)) == []
