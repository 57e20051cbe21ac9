"""The command that makes a link by which an athlete uploads."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select

from strava_pipeline.cli.archive import archive
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline_tests.webhook_bridge.browser import Browser, words_of
from webhook_bridge.app import create_app

ADA = 11


def test_a_link_by_the_command_opens_the_page_of_its_athlete(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    made = CliRunner().invoke(archive, ["link", "--athlete", str(ADA)])
    assert made.exit_code == 0, made.output
    assert made.output.startswith("https://rides.example.org/archive/upload/")
    page = Browser(create_app(settings, engine)).get(urlsplit(made.output.strip()).path)
    assert f"for athlete {ADA} alone" in words_of(page)
    with engine.connect() as connection:
        (audited,) = connection.execute(select(operator_audit.c.actor, operator_audit.c.action)).all()
    assert tuple(audited) == ("command", "invite")
