from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline_tests.mock_strava.callers import Caller, connect


def test_the_whole_athlete_needs_the_scope_for_it(client: FlaskClient) -> None:
    whole = connect(client, RUNNER.athlete_id).json("/athlete")
    assert (whole["resource_state"], whole["ftp"], whole["shoes"][0]["id"]) == (3, RUNNER.ftp_w, RUNNER.shoe)
    less = connect(client, RUNNER.athlete_id, "read").json("/athlete")
    assert less["resource_state"] == 2
    assert {"ftp", "weight", "bikes", "shoes", "bio"}.isdisjoint(less)
    assert less["firstname"] == whole["firstname"]


def test_zones_need_the_scope_for_them(client: FlaskClient, cyclist: Caller) -> None:
    zones = cyclist.json("/athlete/zones")
    assert zones["heart_rate"]["zones"][-1]["max"] == -1
    assert len(zones["power"]["zones"]) == 7
    answer = connect(client, CYCLIST.athlete_id, "read").get("/athlete/zones")
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["errors"][0]["code"] == "missing"


def test_stats_count_what_everybody_may_see(cyclist: Caller) -> None:
    stats = cyclist.json(f"/athletes/{CYCLIST.athlete_id}/stats")
    every = cyclist.json("/athlete/activities?per_page=200")
    rides = [body for body in every if body["type"] == "Ride" and not body["private"]]
    assert stats["all_ride_totals"]["count"] == len(rides)
    assert stats["all_ride_totals"]["distance"] == pytest.approx(sum(ride["distance"] for ride in rides))
    assert stats["recent_ride_totals"]["count"] < stats["ytd_ride_totals"]["count"] == len(rides)
    assert set(stats) == {
        f"{span}_{kind}_totals" for span in ("recent", "ytd", "all") for kind in ("ride", "run", "swim")
    }


def test_stats_of_somebody_else_are_refused(cyclist: Caller) -> None:
    assert cyclist.get(f"/athletes/{RUNNER.athlete_id}/stats").status_code == 401
    assert cyclist.get("/athletes/5/stats").status_code == 404


def test_gear_is_shown_whole_to_its_owner_only(cyclist: Caller) -> None:
    assert cyclist.json(f"/gear/{CYCLIST.bike}")["frame_type"] == 3
    assert cyclist.get(f"/gear/{RUNNER.bike}").status_code == 404
