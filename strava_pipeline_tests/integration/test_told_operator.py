"""What is told reaches the operator once, by mail and by push, however many bridges there are."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import Settings
from strava_pipeline_tests.bridge_process import bridge_process
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mail_server import mail_server
from strava_pipeline_tests.strava.loopback import Loopback

KEY = "k3y-of-the-receiver"
SUBJECT = "Test: alerts of strava-pipeline reach you"


@pytest.mark.usefixtures("engine")
def test_a_test_message_arrives_once_through_two_bridges(settings: Settings, tmp_path: Path) -> None:
    with ExitStack() as stack:
        mails, receiver = stack.enter_context(mail_server()), stack.enter_context(Loopback())
        variables = {
            "STRAVA_SMTP_URL": mails.url,
            "STRAVA_MAIL_FROM": "Watch <watch@example.org>",
            "STRAVA_ALERT_TO": "mira@example.org",
            "STRAVA_ALERT_URLS": f"json://127.0.0.1:{receiver.port}/{KEY}",
            "STRAVA_LOG_LEVEL": "DEBUG",
        }
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
            stack.enter_context(bridge_process(folder, variables))
        asked = subprocess.run(
            [sys.executable, "-m", "strava_pipeline", "alerts", "test"],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (asked.returncode, asked.stdout) == (0, "mail: sent\npush: sent\n"), asked.stderr
    # Both bridges have ended by now: nothing more comes.
    assert [mail["Subject"] for mail in mails.mails] == [SUBJECT]
    assert [asked.path for asked in receiver.asked] == [f"/{KEY}"]
    for folder in folders:
        assert KEY not in (folder / "bridge.log").read_text(encoding="utf-8")


def test_a_bridge_does_not_start_with_a_way_that_is_set_wrongly(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    with (
        pytest.raises(AssertionError, match="STRAVA_ALERT_URLS: address 1 is none that Apprise knows"),
        bridge_process(tmp_path, {"STRAVA_ALERT_URLS": "sl4ck://t0ken"}),
    ):
        pass
