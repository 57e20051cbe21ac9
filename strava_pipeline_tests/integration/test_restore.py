"""A backup taken in the middle of an import by Dagster, restored on an empty machine: nothing and nobody comes back.

It starts `up` twice, which takes most of its time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import requests

from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up, kill_up, start_up
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.e2e.test_outage import set_faults
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.long

RIDES = 16
SLOW = {"path": "/api/v3/activities/*", "fault": "delay", "delay_s": 0.5, "times": None}
IMPORTING_SECONDS = 900


class Rider(IntEnum):
    """The athletes, by what becomes of them after the backup."""

    STAYS = 81
    LEAVES = 82
    HAS_NEW_TOKENS = 83


def control(mock: Mock, path: str, **fields: Any) -> Any:
    """Change the world of the mock."""
    answer = requests.post(f"{mock.url}/mock/{path}", json=fields, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return answer.json()


def ride(mock: Mock, rider: Rider, days_ago: float = 0) -> int:
    """An athlete rides, and Strava tells nobody."""
    began = datetime.now(UTC) - timedelta(days=days_ago, hours=2)
    told = {"sport_type": "Ride", "start_date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "silent": True}
    return int(control(mock, "activities", athlete_id=rider, **told)["id"])


def calls(mock: Mock) -> list[dict[str, Any]]:
    """The calls that the mock has answered."""
    return list(requests.get(f"{mock.url}/mock/calls", timeout=PATIENCE_SECONDS).json()["calls"])


def details(mock: Mock) -> int:
    """How many answers about single activities Strava has given."""
    return sum("/activities/" in call["path"] for call in calls(mock))


def number(installation: Installation, query: str) -> int:
    """The one number that a query gives."""
    ((found,),) = (row.values() for row in json.loads(installation.output("sql", query, "--format", "json")))
    return int(found)


def rows_of(installation: Installation, rider: Rider) -> int:
    return number(installation, f"SELECT count(*) AS n FROM strava.activities WHERE athlete_id = {int(rider)}")  # noqa: S608  a number


def lacks_nothing(installation: Installation) -> bool:
    query = f"SELECT count(*) AS n FROM ops.imports WHERE athlete_id = {int(Rider.STAYS)} AND whole_at IS NOT NULL"  # noqa: S608  as above
    return number(installation, query) == 1


def test_a_backup_in_the_middle_of_an_import_is_restored_on_an_empty_machine(
    embedded: Installation, start_mock: Callable[..., Mock], tmp_path: Path
) -> None:
    for rider in Rider:
        home = tmp_path / "riders" / str(int(rider))
        home.mkdir(parents=True)
        (home / "athlete.json").write_text(json.dumps(cyclist_body() | {"id": rider, "bikes": [], "shoes": []}))
    mock = start_mock("--recordings", str(tmp_path / "riders"))
    for days_ago in range(RIDES):
        ride(mock, Rider.STAYS, days_ago)
    ride(mock, Rider.LEAVES)
    set_faults(mock, SLOW)
    old, new = embedded, Installation(embedded.home.parent / "new", embedded.processes, embedded.environment)

    up = start_up(old)
    for rider in reversed(Rider):
        old.output("connect", "--code", mock.new_code(rider))
    old.output("import", "all")
    eventually(lambda: rows_of(old, Rider.LEAVES) and details(mock) >= RIDES // 2, "the middle of the import")
    old.output("backup", str(tmp_path / "backups"))
    assert details(mock) < 2 * RIDES

    old.output("athletes", "disconnect", str(int(Rider.LEAVES)), "--yes")
    control(mock, "tokens/expire", athlete_id=Rider.HAS_NEW_TOKENS)
    old.output("api", "/athlete", "--athlete", str(int(Rider.HAS_NEW_TOKENS)))
    kill_up(up)
    old.output("athletes", "list")  # the last one to use the embedded Postgres stops it
    shutil.copytree(old.home / "erasures", new.home / "erasures")
    shutil.rmtree(old.home)

    (backup,) = (tmp_path / "backups").iterdir()
    new.output("restore", "load", str(backup))
    assert rows_of(new, Rider.LEAVES) == 1
    before = calls(mock)
    with everything_up(new):
        secret = new.environment["STRAVA_WEBHOOK_SIGNING_SECRETS"].encode()
        late = ride(mock, Rider.STAYS)
        assert deliver(f"http://127.0.0.1:{new.environment['STRAVA_BRIDGE_PORT']}", secret, Rider.STAYS, late)
        refused = new.call("api", "/athlete", "--athlete", str(int(Rider.STAYS)))
        assert "restore check has passed" in refused.stderr
        assert not lacks_nothing(new)
        assert calls(mock) == before

        told = new.output("restore", "check")
        assert f"athlete {int(Rider.LEAVES)} had left after the backup: erased again" in told
        assert f"athlete {int(Rider.HAS_NEW_TOKENS)} (Nora Lindqvist) must connect again" in told
        assert "passed: 1 connected, 1 must connect again, 1 erased again; calls to Strava go on" in told
        assert rows_of(new, Rider.LEAVES) == 0

        wanted = RIDES + 1
        eventually(
            lambda: lacks_nothing(new) and rows_of(new, Rider.STAYS) == wanted,
            "the end of the import",
            IMPORTING_SECONDS,
        )
        query = "SELECT count(*) AS n FROM strava.activity_streams"
        eventually(lambda: number(new, query) == wanted, "every activity is whole, the new one too", IMPORTING_SECONDS)
        eventually(lambda: number(new, "SELECT count(*) AS n FROM ops.erasures") == 0, "the end of the erasure")
    asked = [call for call in calls(mock)[len(before) :] if call["athlete_id"] == Rider.LEAVES]
    assert asked == []
    assert all(call["status"] != requests.codes.too_many_requests for call in calls(mock))
