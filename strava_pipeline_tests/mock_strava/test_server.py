from __future__ import annotations

import os
import re
import shlex
import signal
import socket
from pathlib import Path

import pytest
import requests

from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.table import activity_table
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mock_strava.processes import read_until_ready, start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_how_to_use_it_and_ends_cleanly(number: signal.Signals) -> None:
    with start(0) as process:
        text = read_until_ready(process)
        exported = dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
        assert set(exported) == {"STRAVA_API_URL", "STRAVA_OAUTH_URL", "STRAVA_CLIENT_ID", "STRAVA_CLIENT_SECRET"}
        athlete = re.search(
            r"^athlete (\d+) .+, (\d+) activities: strava-pipeline connect --code (\w+)$", text, re.MULTILINE
        )
        assert athlete
        form = {
            "client_id": exported["STRAVA_CLIENT_ID"],
            "client_secret": exported["STRAVA_CLIENT_SECRET"],
            "grant_type": "authorization_code",
            "code": athlete[3],
        }
        tokens = requests.post(f"{exported['STRAVA_OAUTH_URL']}/token", data=form, timeout=PATIENCE_SECONDS).json()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        answer = requests.get(f"{exported['STRAVA_API_URL']}/athlete", headers=bearer, timeout=PATIENCE_SECONDS)
        assert answer.json()["id"] == int(athlete[1])
        added = _added(text)
        rides = requests.get(
            f"{exported['STRAVA_API_URL']}/athlete/activities", headers=bearer, timeout=PATIENCE_SECONDS
        ).json()
        assert rides[0]["id"] == added
        process.send_signal(number)
        _, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, complaints) == (0, "")
    assert not Path(os.environ["STRAVA_HOME"]).exists(), "no database, no files"


def _added(text: str) -> int:
    """The ride that the printed call of curl makes."""
    _, _, body, url = shlex.split(text.splitlines()[-1].partition(": ")[2])
    made: int = requests.post(url, data=body, timeout=PATIENCE_SECONDS).json()["id"]
    return made


def test_it_writes_the_archive_of_its_first_athlete(tmp_path: Path) -> None:
    path = tmp_path / "export of Nora.zip"
    with start(0, "--archive", str(path), "--seed", "5") as process:
        text = read_until_ready(process)
        process.terminate()
        process.communicate(timeout=20)
    told = re.search(r"^archive of athlete (\d+) in language \w\w, by seed 5: (.+)$", text, re.MULTILINE)
    count = re.search(r"^athlete (\d+) .+, (\d+) activities", text, re.MULTILINE)
    assert told
    assert count
    assert shlex.split(told[2]) == ["strava-pipeline", "archive", "import", str(path), "--athlete", count[1]]
    with open_archive(path) as members:
        assert activity_table(members).row_count == int(count[2])


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with start(taken.getsockname()[1]) as process:
            _, complaints = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert re.fullmatch(r"strava-pipeline: the mock Strava cannot listen on 127\.0\.0\.1:\d+: .+\n", complaints)
