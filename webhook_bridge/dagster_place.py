"""Finds our definitions in anybody's Dagster: it is asked which code location has jobs with our tags.

Two apps may be in one Dagster, each with a prefix of its own: the app's id tells them apart, or settings say which one
is meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from strava_pipeline.names import APP_TAG, ASSET_TAG, DEPLOYMENT_TAG, JOB_TAG, OWN, PREFIX_TAG, Names
from strava_pipeline.printable import printable
from strava_pipeline.settings import variable_name
from webhook_bridge.dagster_server import DagsterRefused, DagsterServer, DagsterUnavailable, Wanted, ask
from webhook_bridge.place import Place

# Dagster has the tags of all jobs at hand: 0.02 s for 300 jobs. An asset costs three times as much, so only those of
# our repository are asked for.
_JOBS = """
query Jobs {
  answer: workspaceOrError {
    __typename
    ... on Workspace { locationEntries { name locationOrLoadError {
      __typename
      ... on RepositoryLocation { repositories { name jobs { name tags { key value } } } }
      ... on PythonError { message }
    } } }
    ... on Error { message }
  }
}
"""
_ASSETS = """
query Assets($params: RepositorySelector!) {
  answer: repositoryOrError(repositorySelector: $params) {
    __typename
    ... on Repository { assetNodes { tags { key value } } }
    ... on Error { message }
  }
}
"""
_SETTINGS = ("dagster_location", "dagster_repository", "dagster_key_prefix")


class NoPlace(DagsterRefused):
    """Dagster answers, but has our jobs in no code location, or in several."""


@dataclass(frozen=True)
class Workspace:
    """What Dagster has loaded: repositories with jobs of ours, without their assets yet.

    ``others``: each code location without a job of ours, and why it is not loaded, or ''.
    """

    places: list[Place]
    others: dict[str, str]


def find_place(dagster: DagsterServer, timeout_s: float | None = None) -> Place:
    """Return where our definitions are, by the settings or alone.

    It is kept for some minutes, and asked for anew at once after Dagster refused anything. ``NoPlace`` if there is
    none, or more than one; ``DagsterUnavailable`` if Dagster has never answered, and does not now.
    """
    kept = dagster.kept
    if (current := kept.current) is not None:
        return current
    try:
        found = look_for_place(dagster, timeout_s)
    except NoPlace:
        kept.forget()
        raise
    except DagsterUnavailable:
        # Nothing speaks against the place; what is sent there fails by itself if Dagster is away.
        if kept.place is None:
            raise
        found = kept.place
    kept.keep(found)
    return found


def look_for_place(dagster: DagsterServer, timeout_s: float | None = None) -> Place:
    """Ask Dagster where our definitions are. ``DagsterUnavailable``; of its kind, ``NoPlace``."""
    workspace = ask(dagster, _JOBS, None, {"Workspace"}, _workspace, timeout_s)
    found = [place for place in workspace.places if _is_wanted(place, dagster.wanted)]
    if not found:
        raise NoPlace(_none_found(dagster, workspace))
    if len(found) > 1:
        raise NoPlace(_several_found(dagster, found))
    (place,) = found
    if (before := dagster.kept.location) != place.location and workspace.others.get(before or ""):
        raise NoPlace(_not_loaded(dagster, before or "", workspace, place))
    assets = ask(dagster, _ASSETS, place.selector, {"Repository"}, lambda answer: _assets(place, answer), timeout_s)
    return replace(place, assets=assets)


def _workspace(answer: Any) -> Workspace:
    places, others = [], {}
    for entry in answer["locationEntries"]:
        loaded = entry["locationOrLoadError"]
        repositories = loaded["repositories"] if loaded and loaded["__typename"] == "RepositoryLocation" else ()
        ours = [place for each in repositories for place in _places(entry["name"], each)]
        if ours:
            places += ours
        else:
            others[entry["name"]] = _load_error(loaded)
    return Workspace(places, others)


def _places(location: str, repository: Any) -> Iterator[Place]:
    """One place for each prefix that jobs of a repository have."""
    tagged = [_tags(job) for job in repository["jobs"]]
    for prefix in sorted({tags[PREFIX_TAG] for tags in tagged if JOB_TAG in tags and PREFIX_TAG in tags}):
        try:
            names = Names.of_tag(prefix)
        except ValueError:
            continue
        ours = [tags for tags in tagged if JOB_TAG in tags and tags.get(PREFIX_TAG) == prefix]
        jobs = frozenset(tags[JOB_TAG] for tags in ours)
        is_own = any(tags.get(DEPLOYMENT_TAG) == OWN for tags in ours)
        app = next((tags[APP_TAG] for tags in ours if APP_TAG in tags), None)
        yield Place(location, repository["name"], names, frozenset(), jobs, is_own, app)


def _assets(place: Place, answer: Any) -> frozenset[str]:
    tagged = map(_tags, answer["assetNodes"])
    ours = (tags for tags in tagged if tags.get(PREFIX_TAG) == place.names.tag_value)
    return frozenset(tags[ASSET_TAG] for tags in ours if ASSET_TAG in tags)


def _tags(tagged: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in tagged["tags"]}


def _load_error(loaded: Any) -> str:
    if loaded is None:
        return "it is still being loaded"
    return str(loaded["message"]).strip().partition("\n")[0] if loaded["__typename"] == "PythonError" else ""


def _is_wanted(place: Place, wanted: Wanted) -> bool:
    return (
        wanted.location in {None, place.location}
        and wanted.repository in {None, place.repository}
        and wanted.key_prefix in {None, "/".join(place.names.key_prefix)}
        and not _is_of_another_app(place, wanted)
    )


def _is_of_another_app(place: Place, wanted: Wanted) -> bool:
    return None not in {place.app, wanted.app} and place.app != wanted.app


def _none_found(dagster: DagsterServer, workspace: Workspace) -> str:
    wanted = dagster.wanted
    values = (wanted.location, wanted.repository, wanted.key_prefix)
    given = [f"{variable_name(field)}={value}" for field, value in zip(_SETTINGS, values, strict=True) if value]
    if any(_is_of_another_app(place, wanted) for place in workspace.places):
        given.append(f"{variable_name('client_id')}={wanted.app}")
    others = [f"{name}, not loaded: {error}" if error else name for name, error in sorted(workspace.others.items())]
    if given and workspace.places:
        there = "; ".join([*map(str, workspace.places), *others])
        return printable(f"Dagster at {dagster.url} has no jobs of ours by {' and '.join(given)}: it has {there}")
    return printable(
        f"no code location of Dagster at {dagster.url} has our jobs: load this release of strava_pipeline in one, or"
        f" set DAGSTER_WEBSERVER_URL to the Dagster that has it; this one has {'; '.join(others) or 'none'}"
    )


def _not_loaded(dagster: DagsterServer, before: str, workspace: Workspace, place: Place) -> str:
    """Another app's location may be all that is there while ours is being loaded."""
    why = workspace.others[before]
    return printable(
        f"Dagster at {dagster.url} has not loaded location {before}, where our jobs were: {why}. If they are now in"
        f" {place}, set {variable_name('dagster_location')}={place.location}"
    )


def _several_found(dagster: DagsterServer, found: Collection[Place]) -> str:
    location, repository, prefix = map(variable_name, _SETTINGS)
    if len({place.location for place in found}) > 1:
        setting = location
    elif len({place.repository for place in found}) > 1:
        setting = repository
    else:
        setting = prefix
    there = "; ".join(map(str, found))
    return printable(f"Dagster at {dagster.url} has our jobs more than once: set {setting} to one of: {there}")
