"""Our definitions are found in anybody's Dagster, by any name; where that is not clear, a line says what to set."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from strava_pipeline.names import Asset, Job, Names
from strava_pipeline.secret import Secret
from strava_pipeline_tests.placed import PLACE, PlacedLoopback, a_place, place_told
from strava_pipeline_tests.strava.loopback import Answer, Asked, Loopback, reply
from webhook_bridge import place as place_module
from webhook_bridge.dagster_api import launch_run
from webhook_bridge.dagster_place import NoPlace, find_place
from webhook_bridge.dagster_server import DagsterRefused, DagsterServer, DagsterUnavailable, Wanted
from webhook_bridge.place import KEPT_SECONDS, Place

THEIRS = a_place("sports", "theirs", ("company", "cycling"), assets=[Asset.ACTIVITIES], is_own=False)
REFUSED = reply({"data": {"answer": {"__typename": "PipelineNotFoundError", "message": "Could not find Pipeline"}}})
LAUNCHED = reply({"data": {"answer": {"__typename": "LaunchRunSuccess", "run": {"id": "run-1"}}}})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(place_module, "time", clock)
    return clock


@pytest.fixture
def dagster() -> Iterator[PlacedLoopback]:
    with PlacedLoopback() as loopback:
        yield loopback


def server(dagster: PlacedLoopback, **wanted: str) -> DagsterServer:
    return DagsterServer(dagster.url, Secret("by-which-the-guard-knows-us"), wanted=Wanted(**wanted))


@pytest.mark.parametrize("place", [PLACE, THEIRS], ids=["our own", "a guest"])
def test_the_only_place_is_found_with_its_names_assets_and_jobs(dagster: PlacedLoopback, place: Place) -> None:
    dagster.places = [place]
    dagster.errors = {"somebody_elses": ""}
    assert find_place(server(dagster)) == place


def test_names_are_those_of_the_prefix(dagster: PlacedLoopback) -> None:
    dagster.places = [THEIRS]
    names = find_place(server(dagster)).names
    assert names == Names(("company", "cycling"))
    assert names.job(Job.WEBHOOK_SYNC) == "company_cycling_webhook_sync"


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ({}, "this one has none"),
        ({"b": "ImportError: no x", "a": ""}, "this one has a; b, not loaded: ImportError: no x"),
    ],
)
def test_a_dagster_without_our_jobs_is_told_with_what_it_has(
    dagster: PlacedLoopback, errors: dict[str, str], says: str
) -> None:
    dagster.places, dagster.errors = [], errors
    with pytest.raises(NoPlace) as caught:
        find_place(server(dagster))
    told = str(caught.value)
    assert told.startswith(f"no code location of Dagster at {dagster.url} has our jobs: ")
    assert says in told
    assert "DAGSTER_WEBSERVER_URL" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("other", "setting", "wanted"),
    [
        (THEIRS, "STRAVA_DAGSTER_LOCATION", {"location": "sports"}),
        (a_place(repository="theirs"), "STRAVA_DAGSTER_REPOSITORY", {"repository": "theirs"}),
        (a_place(key_prefix=["z", "b"]), "STRAVA_DAGSTER_KEY_PREFIX", {"key_prefix": "z/b"}),
    ],
    ids=["location", "repository", "prefix"],
)
def test_of_several_places_a_setting_names_one(
    dagster: PlacedLoopback, other: Place, setting: str, wanted: dict[str, str]
) -> None:
    dagster.places = [PLACE, other]
    with pytest.raises(NoPlace) as caught:
        find_place(server(dagster))
    told = str(caught.value)
    assert f"set {setting} to one of: {PLACE}; {other}" in told
    assert "\n" not in told
    assert find_place(server(dagster, **wanted)) == other


def test_the_apps_id_tells_two_apps_apart(dagster: PlacedLoopback) -> None:
    ours, theirs = a_place(app="4711"), a_place("sports", key_prefix=["sports"], app="815")
    dagster.places = [theirs, ours]
    assert find_place(server(dagster, app="4711")) == ours
    assert find_place(server(dagster, app="815")) == theirs


def test_another_apps_location_is_not_taken_for_ours_while_ours_is_not_loaded(dagster: PlacedLoopback) -> None:
    dagster.places, dagster.errors = [a_place("sports", app="815")], {"strava": "ImportError: no x"}
    with pytest.raises(NoPlace) as caught:
        find_place(server(dagster, app="4711"))
    assert str(caught.value) == (
        f"Dagster at {dagster.url} has no jobs of ours by STRAVA_CLIENT_ID=4711: it has location sports,"
        " repository __repository__, prefix strava, app 815; strava, not loaded: ImportError: no x"
    )


def test_definitions_that_tell_no_app_are_ours_where_they_are_alone(dagster: PlacedLoopback) -> None:
    dagster.places = [PLACE]
    assert find_place(server(dagster, app="4711")) == PLACE


def test_a_setting_that_fits_nothing_is_told_with_what_is_there(dagster: PlacedLoopback) -> None:
    dagster.errors = {"broken": "ImportError: no x"}
    with pytest.raises(NoPlace) as caught:
        find_place(server(dagster, location="elsewhere", key_prefix="strava"))
    assert str(caught.value) == (
        f"Dagster at {dagster.url} has no jobs of ours by STRAVA_DAGSTER_LOCATION=elsewhere and"
        f" STRAVA_DAGSTER_KEY_PREFIX=strava: it has {PLACE}; broken, not loaded: ImportError: no x"
    )


def test_a_place_is_kept_for_some_minutes(dagster: PlacedLoopback, clock: Clock) -> None:
    asking = server(dagster)
    for _ in range(3):
        find_place(asking)
    assert dagster.looks == 1
    dagster.places = [THEIRS]
    clock.now += KEPT_SECONDS - 1
    assert find_place(asking) == PLACE
    clock.now += 1
    assert find_place(asking) == THEIRS
    assert dagster.looks == 2


def test_what_dagster_refuses_has_it_asked_anew_at_once(dagster: PlacedLoopback) -> None:
    """Such as after a location was renamed, or loaded anew with another prefix."""
    asking = server(dagster)
    place = find_place(asking)
    dagster.places = [THEIRS]
    dagster.answers(REFUSED, LAUNCHED)
    with pytest.raises(DagsterRefused, match="Could not find"):
        launch_run(asking, place, Job.WEBHOOK_SYNC, {}, {})
    assert launch_run(asking, find_place(asking), Job.WEBHOOK_SYNC, {}, {}) == "run-1"
    selectors = [json.loads(asked.body)["variables"]["params"]["selector"] for asked in dagster.asked]
    assert [selector["jobName"] for selector in selectors] == ["strava_webhook_sync", "company_cycling_webhook_sync"]
    assert selectors[1]["repositoryLocationName"] == "sports"


def test_a_dagster_that_goes_away_takes_no_place_with_it(dagster: PlacedLoopback, clock: Clock) -> None:
    asking = server(dagster)
    find_place(asking)
    dagster.places = []
    clock.now += KEPT_SECONDS
    with PlacedLoopback() as away:
        away_from = DagsterServer(away.url, asking.key)
    with pytest.raises(DagsterUnavailable, match="gave no usable answer"):
        find_place(away_from)
    away_from.kept.place = PLACE
    assert find_place(away_from) == PLACE
    # An answer counts.
    with pytest.raises(NoPlace):
        find_place(asking)


def test_each_server_has_a_place_of_its_own(dagster: PlacedLoopback) -> None:
    find_place(server(dagster))
    find_place(server(dagster))
    assert dagster.looks == 2


def test_a_tag_that_no_prefix_can_be_is_nobodys() -> None:
    def answer(asked: Asked) -> Answer:
        told = place_told(asked, [PLACE, a_place(key_prefix=["spoilt"])])
        return reply({"data": {"answer": json.loads(json.dumps(told).replace("spoilt", "two words"))}})

    with Loopback() as dagster:
        dagster.answer = answer
        assert find_place(DagsterServer(dagster.url, Secret("a key"))) == PLACE
