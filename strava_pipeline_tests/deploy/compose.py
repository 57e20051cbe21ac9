"""``deploy/compose.yaml`` as compose reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy"
FILE, EXAMPLE = FOLDER / "compose.yaml", FOLDER / ".env.example"
# ${NAME}, ${NAME:-default} and ${NAME:?what to say}; $$ is a plain dollar.
_VARIABLE = re.compile(r"\$(?:(?P<plain>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")
SECRETS_FOLDER = "/run/secrets/"
# As a person fills in .env.
FILLED_IN = {
    "PUBLIC_HOST": "strava.example.org",
    "DAGSTER_HOST": "dagster.example.org",
    "OPERATOR_NETWORKS": "192.0.2.0/24",
    "STRAVA_CLIENT_ID": "4711",
}


@cache
def composed() -> dict[str, Any]:
    """The file as it stands, its variables left as they are."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    """Each service by its name."""
    found: dict[str, dict[str, Any]] = composed()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run strava-pipeline."""
    return {name: service for name, service in services().items() if service["image"].startswith("strava-pipeline:")}


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """A part of the file with its variables in place; ``KeyError`` with the words for one that must be given."""
    if isinstance(value, dict):
        return {key: filled_in(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner, variables) for inner in value]
    return _VARIABLE.sub(lambda found: _value(found, variables), value) if isinstance(value, str) else value


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["plain"]:
        return "$"
    given = variables.get(found["name"])
    if given:
        return given
    if found["kind"] == "?":
        raise KeyError(found["text"])
    return found["text"] or ""


def variables_of_the_file() -> set[str]:
    """All names that stand in ``${...}``."""
    return {found["name"] for found in _VARIABLE.finditer(FILE.read_text(encoding="utf-8")) if found["name"]}


def mounted_files() -> Iterator[tuple[str, Path]]:
    """What services mount of this checkout: the service's name, and the file or folder."""
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                yield name, FOLDER / source


def secret_variables_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a service that name the file of a secret, without ``_FILE``, and the secret's name."""
    return {
        variable.removesuffix("_FILE"): path.removeprefix(SECRETS_FOLDER)
        for variable, path in service.get("environment", {}).items()
        if variable.endswith("_FILE")
    }


def example() -> dict[str, str]:
    """The variables of ``.env.example``, with those that are commented out."""
    found = re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)
