from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pydantic import SecretStr

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import (
    QuotaScope,
    Settings,
    SignatureMode,
    home_from_environment,
    load_settings,
    origin_of,
    settings_file,
    variable_name,
)

SECRETS = (
    "database_url",
    "database_owner_url",
    "database_replica_url",
    "sql_database_url",
    "analyst_database_url",
    "client_secret",
    "token_keys",
    "webhook_verify_token",
    "webhook_signing_secrets",
    "webhook_path_token",
    "operator_token",
    "dagster_postgres_url",
    "smtp_url",
)
CANARY = "canary-long-enough-for-each"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("STRAVA_HOME", str(home))
    return home


def write_file(home: Path, *lines: str) -> None:
    settings_file(home).write_text("\n".join(lines) + "\n", encoding="utf-8")


def secret_of(field: str) -> str:
    value = getattr(load_settings(), field)
    assert isinstance(value, SecretStr)
    return value.get_secret_value()


def test_every_setting_has_its_default(home: Path) -> None:
    settings = load_settings()
    assert settings.home == home
    assert settings.api_url == "https://www.strava.com/api/v3"
    assert settings.oauth_url == "https://www.strava.com/oauth"
    assert (settings.quota_short_limit, settings.quota_long_limit) == (100, 1000)
    assert (settings.quota_short_window_seconds, settings.quota_long_window_seconds) == (900, 86_400)
    assert (settings.import_batch_size, settings.import_batch_interval_seconds) == (75, 150)
    assert settings.outage_patience_hours == 24
    assert settings.webhook_signature is SignatureMode.REQUIRED
    assert settings.dagster_webserver_url == "http://127.0.0.1:3000"
    assert all(getattr(settings, field) is None for field in SECRETS)
    assert settings.signing_secrets() == []


@pytest.mark.parametrize("field", Settings.model_fields)
def test_each_setting_says_what_it_is_for(field: str) -> None:
    description = Settings.model_fields[field].description
    assert description
    assert description.isprintable()
    assert not description.endswith(".")


def test_variables_are_named_after_fields() -> None:
    assert variable_name("client_id") == "STRAVA_CLIENT_ID"
    assert variable_name("dagster_home") == "DAGSTER_HOME"
    names = [variable_name(field) for field in Settings.model_fields]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("STRAVA_", "DAGSTER_")) for name in names)


@pytest.mark.parametrize("text", ["debug", "DEBUG", "Debug"])
def test_a_log_level_is_one_of_loggings_in_any_letters(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert load_settings().log_level is None
    monkeypatch.setenv("STRAVA_LOG_LEVEL", text)
    assert load_settings().log_level == "DEBUG"
    for odd in ("LOUD", "10", "NOTSET"):
        monkeypatch.setenv("STRAVA_LOG_LEVEL", odd)
        with pytest.raises(ConfigurationError, match="STRAVA_LOG_LEVEL is not usable: Input should be 'DEBUG', 'INFO'"):
            load_settings()


def test_sources_come_in_their_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-secret-file\n")
    assert load_settings().client_secret is None
    assert origin_of("client_secret", home) == "default"
    write_file(home, "STRAVA_CLIENT_SECRET=from-settings-file", "STRAVA_BRIDGE_PORT=81")
    assert secret_of("client_secret") == "from-settings-file"
    assert origin_of("client_secret", home) == "settings file"
    monkeypatch.setenv("STRAVA_CLIENT_SECRET_FILE", str(secret))
    assert secret_of("client_secret") == "from-secret-file"
    assert origin_of("client_secret", home) == "secret file"
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "from-environment")
    assert secret_of("client_secret") == "from-environment"
    assert origin_of("client_secret", home) == "environment"
    overridden = load_settings(client_secret="given").client_secret
    assert overridden is not None
    assert overridden.get_secret_value() == "given"
    assert load_settings().bridge_port == 81


@pytest.mark.parametrize("field", SECRETS)
def test_each_secret_may_stand_in_a_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"  {CANARY} \n", encoding="utf-8")
    monkeypatch.setenv(f"{variable_name(field)}_FILE", str(secret))
    assert secret_of(field) == CANARY
    assert CANARY not in repr(load_settings())


def test_every_secret_is_masked() -> None:
    fields = Settings.model_fields
    secret_like = {
        name
        for name in fields
        if any(word in name for word in ("secret", "token", "keys", "database", "postgres", "smtp"))
    }
    assert secret_like == set(SECRETS)
    settings = load_settings(**dict.fromkeys(SECRETS, CANARY))
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)
    assert CANARY not in settings.model_dump_json()


def test_only_secrets_are_read_from_files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id").write_text("4711")
    monkeypatch.setenv("STRAVA_CLIENT_ID_FILE", str(tmp_path / "id"))
    assert load_settings().client_id is None
    assert origin_of("client_id", home) == "default"


@pytest.mark.parametrize(("name", "reason"), [("absent", "No such file"), (".", "Is a directory"), ("odd", "Unicode")])
def test_a_secret_file_that_cannot_be_read_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfecanary")
    monkeypatch.setenv("STRAVA_CLIENT_SECRET_FILE", str(tmp_path / name))
    with pytest.raises(ConfigurationError, match=f"STRAVA_CLIENT_SECRET_FILE cannot be read: .*{reason}") as caught:
        load_settings()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("field", ["client_secret", "client_id", "bridge_port", "dagster_home"])
def test_an_empty_variable_is_an_unset_one(home: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setenv(variable_name(field), "")
    assert getattr(load_settings(), field) == Settings.model_fields[field].default
    assert origin_of(field, home) == "default"


def test_the_settings_file_is_taken_as_it_stands(home: Path) -> None:
    write_file(
        home,
        "# a comment",
        "STRAVA_CLIENT_SECRET='with $HOME and ${PATH}'",
        "DAGSTER_WEBSERVER_URL=http://127.0.0.1:4000/",
        "SOMETHING_ELSE=1",
        "STRAVA_UNKNOWN=1",
    )
    assert secret_of("client_secret") == "with $HOME and ${PATH}"
    assert load_settings().dagster_webserver_url == "http://127.0.0.1:4000"
    assert origin_of("dagster_webserver_url", home) == "settings file"


@pytest.mark.parametrize(("given", "below"), [("~/strava", "the user's"), ("relative/strava", "the current")])
def test_the_home_is_the_same_wherever_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, below: str
) -> None:
    folders = {"the user's": tmp_path / "user", "the current": tmp_path / "here"}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("HOME", str(folders["the user's"]))
    monkeypatch.chdir(folders["the current"])
    monkeypatch.setenv("STRAVA_HOME", given)
    expected = folders[below] / given.removeprefix("~/")
    assert home_from_environment() == expected
    assert load_settings().home == expected


def test_without_a_home_it_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home == home_from_environment() == tmp_path / ".strava-pipeline"


URL_FIELDS = ("api_url", "oauth_url", "dagster_webserver_url")


@pytest.mark.parametrize("field", URL_FIELDS)
@pytest.mark.parametrize(
    "address",
    [
        "https://strava.example/api/v3",
        "https://127.0.0.1",
        "http://127.0.0.1:8080/x",
        "http://localhost:1",
        "HTTP://LOCALHOST",
        "http://[::1]:8080",
    ],
)
def test_plain_http_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch, field: str, address: str) -> None:
    monkeypatch.setenv(variable_name(field), f"{address}/")
    assert getattr(load_settings(), field) == address


@pytest.mark.parametrize("field", URL_FIELDS)
@pytest.mark.parametrize(
    "address",
    [
        "http://strava.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://localhost@strava.example",
        "http://strava.example\\@localhost",
        "https://someone:canary@strava.example",
        "https://strava.example/api?key=canary",
        "https://strava.example/#part",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:8080",
        "https://",
        "https:///path",
        "http://[",
        "not an address",
    ],
)
def test_any_other_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, field: str, address: str) -> None:
    monkeypatch.setenv(variable_name(field), address)
    with pytest.raises(ConfigurationError, match=f"^{variable_name(field)} is not usable: ") as caught:
        load_settings()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_id", "canary"),
        ("client_id", "12 "),
        ("quota_short_limit", "0"),
        ("quota_short_limit", "canary"),
        ("quota_long_window_seconds", "-1"),
        ("import_batch_size", "49"),
        ("import_batch_size", "101"),
        ("import_batch_interval_seconds", "-1"),
        ("outage_patience_hours", "-1"),
        ("outage_patience_hours", "inf"),
        ("bridge_port", "65536"),
        ("webhook_subscription_id", "0"),
        ("webhook_signature", "canary"),
        ("history_start", "canary"),
        ("history_start", "9999-12-31"),
    ],
)
def test_a_value_out_of_bounds_is_one_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str
) -> None:
    monkeypatch.setenv(variable_name(field), value)
    with pytest.raises(ConfigurationError, match=f"^{variable_name(field)} is not usable: ") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_is_needed_and_not_set_is_named_with_the_place_to_set_it(home: Path) -> None:
    settings_file(home).write_text("STRAVA_CLIENT_ID=4711\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings().required("client_secret")
    assert str(caught.value) == (
        f"STRAVA_CLIENT_SECRET is not set: put it into the environment or into {settings_file(home)}"
    )


def test_of_several_that_are_needed_each_one_that_is_not_set_is_named(home: Path) -> None:
    settings_file(home).write_text("STRAVA_TOKEN_KEYS=k1:x\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings().require("client_id", "token_keys", "client_secret")
    assert str(caught.value).startswith("STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET are not set: put them into")
    load_settings().require("token_keys")


def test_where_there_is_no_settings_file_init_is_named_first(home: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings().required("webhook_verify_token")
    assert str(caught.value) == (
        "STRAVA_WEBHOOK_VERIFY_TOKEN is not set: run strava-pipeline init first, which writes"
        f" {settings_file(home)}, or put it into the environment"
    )


def test_what_is_needed_and_set_comes_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "canary")
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "120475")
    settings = load_settings()
    assert settings.required("client_secret") == "canary"
    assert settings.required("webhook_subscription_id") == "120475"


def test_several_signing_secrets_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_WEBHOOK_SIGNING_SECRETS", " one, tw\u00f6 ,,three=")
    assert load_settings().signing_secrets() == [b"one", "tw\u00f6".encode(), b"three="]


def test_values_have_their_types(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, tuple[str, Any]] = {
        "history_start": ("2012-03-01", date(2012, 3, 1)),
        "webhook_signature": ("off", SignatureMode.OFF),
        "quota_scope": ("athlete", QuotaScope.ATHLETE),
        "import_batch_interval_seconds": ("0", 0.0),
        "dagster_home": (str(tmp_path), tmp_path),
    }
    for field, (text, _) in given.items():
        monkeypatch.setenv(variable_name(field), text)
    settings = load_settings()
    assert {field: getattr(settings, field) for field in given} == {field: value for field, (_, value) in given.items()}


def test_a_history_that_begins_tomorrow_is_refused_and_one_that_begins_today_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with time_machine.travel(datetime(2026, 3, 31, 23, 59, tzinfo=UTC), tick=False):
        monkeypatch.setenv("STRAVA_HISTORY_START", "2026-03-31")
        assert load_settings().history_start == date(2026, 3, 31)
        monkeypatch.setenv("STRAVA_HISTORY_START", "2026-04-01")
        with pytest.raises(ConfigurationError, match=r"^STRAVA_HISTORY_START is not usable: .* has come \(UTC\)"):
            load_settings()


def test_settings_do_not_change_once_read() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.client_id = "1"  # type: ignore[misc]  # that is the point


def test_a_line_of_the_settings_file_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("STRAVA_CLIENT_ID=5\nthis is no line\n")
    with pytest.raises(ConfigurationError, match="line 2: not of the form NAME=value"):
        load_settings()


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        b"br\neak",
        b"car\rriage",
        b"esc\x1b[2J",
        b"\xff\xfe",
        b'quo"te',
        b"d$HOME",
        b"b`id`",
        b"back\\s",
        "\u2028".encode(),
    ],
)
def test_a_home_that_postgres_programs_cannot_be_told_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: bytes, link: bool
) -> None:
    home = tmp_path / os.fsdecode(name)
    if link:
        (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "link" if link else home))
    for asked in (home_from_environment, load_settings):
        with pytest.raises(ConfigurationError, match=r"STRAVA_HOME .* which Postgres' programs do not accept") as told:
            asked()
        assert str(told.value).isprintable()
    assert not home.exists()


def test_a_home_of_an_unknown_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", "~nobody-of-this-name/data")
    with pytest.raises(ConfigurationError, match="STRAVA_HOME names the home of an unknown user"):
        home_from_environment()
