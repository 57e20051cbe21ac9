"""Settings that a caller gives: plain ones, and references to variables and files, as which alone secrets come."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import settings_file
from strava_pipeline.settings import Settings, load_settings, variable_name
from strava_pipeline.settings_references import without_secrets
from strava_pipeline.settings_sources import is_secret

SECRETS = [name for name, field in Settings.model_fields.items() if is_secret(field)]


def refusal(**given: Any) -> str:
    """The line that says why what is given is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("value", ["canary: long", 4711, ["canary"], b"canary", True])
def test_a_secret_is_not_taken_itself_and_the_line_says_how_to_give_it(field: str, value: Any) -> None:
    told = refusal(**{field: value})
    assert told.startswith(f"{field} is secret")
    assert f"{{env: {variable_name(field)}}}" in told
    assert "{file: /" in told
    assert "canary" not in told
    assert "4711" not in told


@pytest.mark.parametrize("field", SECRETS)
def test_each_secret_is_taken_by_its_variable_and_by_its_file(
    field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OF_THE_HOST", "canary-of-the-variable: long")
    assert load_settings(**{field: {"env": "OF_THE_HOST"}}).required(field) == "canary-of-the-variable: long"
    (tmp_path / "secret").write_text("canary-of-the-file: long\n")
    given = load_settings(**{field: {"file": str(tmp_path / "secret")}})
    assert given.required(field) == "canary-of-the-file: long"
    assert "canary" not in repr(given)


def test_what_a_reference_leads_to_is_masked_in_logs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OF_THE_HOST", "canary-of-a-reference")
    load_settings(client_secret={"env": "OF_THE_HOST"})
    redaction.get_logger("strava_pipeline.test").log(logging.WARNING, "sent canary-of-a-reference")
    assert caplog.messages == [f"sent {redaction.MASK}"]


def test_other_settings_come_as_yaml_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_OF_THE_APP", "4711")
    given = yaml.safe_load(
        'client_id: 12345\nwebhook_subscription_id: "77"\nhistory_start: 2012-03-01\nupkeep_share: 0.1\n'
        "dagster_webserver_url: http://dagster-webserver:3000/\npurge_on_deauthorization: false\nlake_url:\n"
    )
    settings = load_settings(**given)
    assert (settings.client_id, settings.webhook_subscription_id) == ("12345", 77)
    assert (settings.history_start, settings.upkeep_share) == (date(2012, 3, 1), 0.1)
    assert settings.dagster_webserver_url == "http://dagster-webserver:3000"
    assert (settings.purge_on_deauthorization, settings.lake_url) == (False, None)
    assert load_settings(client_id={"env": "ID_OF_THE_APP"}).client_id == "4711"


def test_what_is_given_goes_before_the_environment_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second has no name of ours in the environment.
    for name in ("STRAVA_CLIENT_ID", "DAGSTER_WEBSERVER_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1" if "URL" in name else "1")
    settings = load_settings(client_id=2, dagster_webserver_url="http://127.0.0.1:2", lake_url=None)
    assert (settings.client_id, settings.dagster_webserver_url) == ("2", "http://127.0.0.1:2")
    assert [settings.origin_of(field) for field in ("client_id", "dagster_webserver_url")] == ["given"] * 2
    assert settings.origin_of("lake_url") == "default"
    assert load_settings().origin_of("client_id") == "environment"


def test_the_word_for_the_embedded_postgres_is_no_secret() -> None:
    assert load_settings(database_url="embedded").is_embedded
    assert refusal(token_keys="embedded").startswith("token_keys is secret")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"env": "NOT_SET_HERE"}, "client_secret refers to the variable NOT_SET_HERE, which is not set"),
        # What is no name of a variable may be the secret itself.
        ({"env": "canary"}, "client_secret refers to a variable by what is no name"),
        ({"env": "EMPTY"}, "client_secret refers to the variable EMPTY, which is not set"),
        ({"file": "canary"}, "client_secret refers to a file: give its whole path"),
        ({"file": "/dev/null"}, "client_secret refers to /dev/null, which is empty"),
        ({"file": "/dev/null/absent"}, "client_secret cannot be read: /dev/null/absent: Not a directory"),
        ({"environment": "canary"}, "client_secret refers to nothing: a reference is {env: NAME}"),
        ({"env": "EMPTY", "file": "/canary"}, "client_secret refers to nothing"),
        ({"env": 5}, "client_secret refers to nothing"),
        ({}, "client_secret refers to nothing"),
    ],
)
def test_a_reference_to_nothing_is_told_without_what_may_be_a_secret(
    reference: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    said = refusal(client_secret=reference)
    assert said.startswith(told)
    assert "canary" not in said


def test_unknown_names_are_named_with_the_ones_they_resemble() -> None:
    told = refusal(clientid=1, STRAVA_TOKEN_KEYS={"env": "X"}, nothing_like_it="canary")
    assert told.startswith(
        "there is no setting 'clientid' (did you mean client_id?), 'STRAVA_TOKEN_KEYS' (did you mean token_keys?),"
        " 'nothing_like_it':"
    )
    assert "canary" not in told


def test_a_given_home_decides_which_settings_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, port in (("given", 81), ("of-the-environment", 82)):
        (tmp_path / name).mkdir()
        settings_file(tmp_path / name).write_text(f"STRAVA_BRIDGE_PORT={port}\n")
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "of-the-environment"))
    settings = load_settings(home=str(tmp_path / "given"))
    assert (settings.home, settings.bridge_port) == (tmp_path / "given", 81)
    assert settings.origin_of("bridge_port") == "settings file"
    assert load_settings().bridge_port == 82


@pytest.mark.parametrize("home", ["/srv/a$b", "~nobody-of-this-name/home", 5])
def test_a_given_home_is_checked_as_that_of_the_environment(home: Any) -> None:
    assert refusal(home=home).startswith("STRAVA_HOME ")


def test_secrets_are_left_out_unread_for_who_needs_none() -> None:
    given = {"client_id": {"env": "A"}, "client_secret": {"env": "NOT_SET"}, "token_keys": {"file": "/not/there"}}
    kept = without_secrets(given | {"history_start": "2020-01-01", "smtp_url": None}, Settings.model_fields)
    assert kept == {"client_id": {"env": "A"}, "history_start": "2020-01-01"}


MISTAKEN = [
    "canary",
    {"vault": "canary"},
    {"env": "A", "file": "/canary"},
    {"env": 1},
    {"env": "postgresql://rider:canary@db/strava"},
    {"env": "$CANARY"},
    {"file": "canary"},
]


@pytest.mark.parametrize("given", MISTAKEN)
def test_a_secret_that_is_left_out_is_a_reference_all_the_same(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^client_secret (is secret|refers to )") as caught:
        without_secrets({"client_secret": given}, Settings.model_fields)
    assert "canary" not in str(caught.value)
