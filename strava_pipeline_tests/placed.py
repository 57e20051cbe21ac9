"""A Dagster that tells where our definitions are, and otherwise answers as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from strava_pipeline.names import (
    ALL_ASSETS,
    APP_TAG,
    ASSET_TAG,
    DEPLOYMENT_TAG,
    GUEST,
    JOB_TAG,
    OWN,
    PREFIX_TAG,
    Job,
    Names,
)
from strava_pipeline_tests.strava.loopback import Answer, Asked, Loopback, Reply, reply
from webhook_bridge.place import Place

JOBS = frozenset({
    Job.WEBHOOK_SYNC, Job.NEWEST_MONTH, Job.IMPORT_HISTORY, Job.UPKEEP, Job.UPDATE_LAKE, Job.RUN_CHECKS, Job.RETENTION,
    Job.RUN_RETENTION, Job.SEND_NOTIFICATIONS, Job.REMAP, Job.ARCHIVE_IMPORT, Job.FILES_IMPORT,
})  # fmt: skip


def a_place(
    location: str = "strava_pipeline",
    repository: str = "__repository__",
    key_prefix: Iterable[str] = ("strava",),
    *,
    assets: Iterable[str] = ALL_ASSETS,
    jobs: Iterable[str] = JOBS,
    is_own: bool = True,
    app: str | None = None,
) -> Place:
    """A place, as our own workspace has it unless told otherwise."""
    return Place(location, repository, Names(tuple(key_prefix)), frozenset(assets), frozenset(jobs), is_own, app)


PLACE = a_place()


class PlacedLoopback(Loopback):
    """Says by itself where our definitions are; everything else is asked and answered as in any loopback.

    ``errors``: further code locations, and why each is not loaded, or ''.
    """

    def __init__(self, *places: Place) -> None:
        self._answer: Callable[[Asked], Answer] = lambda _: Reply()
        self.places = list(places or (PLACE,))
        self.errors: dict[str, str] = {}
        # How often it was asked for its jobs.
        self.looks = 0
        super().__init__()

    @property
    def answer(self) -> Callable[[Asked], Answer]:
        return self._placed

    @answer.setter
    def answer(self, answer: Callable[[Asked], Answer]) -> None:
        self._answer = answer

    def _placed(self, asked: Asked) -> Answer:
        told = place_told(asked, self.places, self.errors)
        if told is None:
            return self._answer(asked)
        self.asked.remove(asked)
        self.looks += told["__typename"] == "Workspace"
        return reply({"data": {"answer": told}})


def placed(answer: Callable[[Asked], Answer], *places: Place) -> Callable[[Asked], Answer]:
    """Answer as before, but tell of these places, or of that of our own workspace."""

    def answered(asked: Asked) -> Answer:
        told = place_told(asked, places or (PLACE,))
        return answer(asked) if told is None else reply({"data": {"answer": told}})

    return answered


def place_told(asked: Asked, places: Iterable[Place], errors: dict[str, str] | None = None) -> dict[str, Any] | None:
    """What Dagster tells of its locations, or of a repository's assets; ``None`` if it was asked for something else."""
    body = asked.body.decode()
    if "query Jobs" in body:
        return {"__typename": "Workspace", "locationEntries": _locations(list(places), errors or {})}
    if "query Assets" in body:
        selected = json.loads(body)["variables"]["params"]
        found = [asset for place in places if place.selector == selected for asset in _assets(place)]
        return {"__typename": "Repository", "assetNodes": found}
    return None


def _locations(places: list[Place], errors: dict[str, str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, list[Any]]] = {}
    for place in places:
        found.setdefault(place.location, {}).setdefault(place.repository, []).extend(_jobs(place))
    loaded = [
        _location(name, [{"name": repository, "jobs": jobs} for repository, jobs in repositories.items()])
        for name, repositories in found.items()
    ]
    failed = [
        {"name": name, "locationOrLoadError": {"__typename": "PythonError", "message": f"{error}\n  File ..."}}
        if error
        else _location(name, [{"name": "__repository__", "jobs": [_job("retention", {})]}])
        for name, error in errors.items()
    ]
    return [*loaded, *failed]


def _location(name: str, repositories: list[Any]) -> dict[str, Any]:
    return {"name": name, "locationOrLoadError": {"__typename": "RepositoryLocation", "repositories": repositories}}


def _jobs(place: Place) -> list[dict[str, Any]]:
    deployment = {DEPLOYMENT_TAG: OWN if place.is_own else GUEST} | ({} if place.app is None else {APP_TAG: place.app})
    ours = [
        _job(place.names.job(job), deployment | {JOB_TAG: job, PREFIX_TAG: place.names.tag_value})
        for job in sorted(place.jobs)
    ]
    return [_job(Job.ASSETS, {}), *ours]


def _job(name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "tags": _tags(tags)}


def _assets(place: Place) -> list[dict[str, Any]]:
    names = place.names
    ours = [{"tags": _tags({ASSET_TAG: asset, PREFIX_TAG: names.tag_value})} for asset in sorted(place.assets)]
    return [{"tags": []}, *ours]


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
