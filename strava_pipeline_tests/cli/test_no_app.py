"""Without an app nothing is missed: keys are made where they are needed first, and nobody is asked for one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import Engine

from strava_pipeline.cli import cli
from strava_pipeline.cli.made_settings import with_token_keys
from strava_pipeline.defs.resources import MAX_WAIT
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import settings_file
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.context import open_sync
from strava_pipeline_tests.strava_stand_in import RIDER
from webhook_bridge.app import check_settings, create_app

OF_AN_APP = (
    "STRAVA_CLIENT_ID",
    "STRAVA_CLIENT_SECRET",
    "STRAVA_TOKEN_KEYS",
    "STRAVA_WEBHOOK_VERIFY_TOKEN",
    "STRAVA_WEBHOOK_PATH_TOKEN",
    "STRAVA_WEBHOOK_SIGNING_SECRETS",
)


@pytest.fixture
def without_app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A database, and no app."""
    for name in OF_AN_APP:
        monkeypatch.delenv(name, raising=False)
    return load_settings()


def test_keys_are_made_once_and_kept_in_the_settings_file(without_app: Settings, engine: Engine) -> None:
    made = with_token_keys(without_app, engine)
    assert made.token_keys is not None
    assert load_settings().token_keys == made.token_keys
    assert with_token_keys(load_settings(), engine).token_keys == made.token_keys
    # A later connection stores tokens with them.
    open_tokens(made, engine)


def test_no_key_is_made_where_the_tables_know_another(
    without_app: Settings, settings: Settings, engine: Engine
) -> None:
    open_tokens(settings, engine)
    assert with_token_keys(without_app, engine).token_keys is None
    assert not settings_file(without_app.home).exists()


def test_no_key_is_made_for_an_app_or_in_a_container(without_app: Settings, engine: Engine) -> None:
    for given in ({"client_id": "4711"}, {"data_in_home": False}):
        assert with_token_keys(without_app.model_copy(update=given), engine).token_keys is None


def test_the_bridge_takes_no_delivery_and_misses_nothing(without_app: Settings, engine: Engine) -> None:
    check_settings(without_app)
    client: FlaskClient = create_app(with_token_keys(without_app, engine), engine).test_client()
    assert client.get("/webhooks/strava").status_code == 404
    assert client.post("/webhooks/strava", json={}).status_code == 404
    assert client.get("/health/live").status_code == 200


def test_with_an_app_the_bridge_still_asks_for_what_deliveries_need(without_app: Settings) -> None:
    with pytest.raises(ConfigurationError, match="STRAVA_WEBHOOK_VERIFY_TOKEN"):
        check_settings(without_app.model_copy(update={"client_id": "4711"}))


def test_a_run_without_keys_fails_at_the_first_request_only(without_app: Settings, engine: Engine) -> None:
    sync = open_sync(without_app, engine, Lane.BACKFILL, MAX_WAIT[Lane.BACKFILL])
    with pytest.raises(ConfigurationError, match=f"Strava cannot be asked for athlete {RIDER}"):
        sync.client.get_athlete(RIDER)


def test_doctor_misses_neither_app_nor_keys(without_app: Settings) -> None:
    told = CliRunner().invoke(cli, ["doctor"]).output
    for line in told.splitlines():
        if line.split()[:1] in (["app"], ["token"], ["stored"], ["subscription"], ["bridge"]):
            assert "FAIL" not in line.upper(), line
    assert "STRAVA_CLIENT_ID is not set" not in told
    assert "STRAVA_TOKEN_KEYS is not set" not in told
