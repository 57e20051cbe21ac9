from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pydantic import SecretStr

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import settings_file
from strava_pipeline.settings import QuotaScope, Settings, SignatureMode, load_settings, variable_name
from strava_pipeline_tests.certificates import make_certificate

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
    "dagster_header",
    "dagster_postgres_url",
    "smtp_url",
    "metrics_token",
    "alert_urls",
    "heartbeat_url",
)
CANARY = "canary-long-enough: for-each"


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
    assert load_settings().origin_of("client_secret") == "default"
    write_file(home, "STRAVA_CLIENT_SECRET=from-settings-file", "STRAVA_BRIDGE_PORT=81")
    assert secret_of("client_secret") == "from-settings-file"
    assert load_settings().origin_of("client_secret") == "settings file"
    monkeypatch.setenv("STRAVA_CLIENT_SECRET_FILE", str(secret))
    assert secret_of("client_secret") == "from-secret-file"
    assert load_settings().origin_of("client_secret") == "secret file"
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "from-environment")
    assert secret_of("client_secret") == "from-environment"
    assert load_settings().origin_of("client_secret") == "environment"
    monkeypatch.setenv("ANOTHER_VARIABLE", "given")
    given = load_settings(client_secret={"env": "ANOTHER_VARIABLE"})
    assert given.required("client_secret") == "given"
    assert given.origin_of("client_secret") == "given"
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
        if any(
            word in name
            for word in ("secret", "token", "keys", "database", "postgres", "smtp", "urls", "heartbeat", "header")
        )
    } - {"dagster_header_over_http", "database_pool_size"}
    assert secret_like == set(SECRETS)
    settings = Settings(**dict.fromkeys(SECRETS, CANARY))
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)
    assert CANARY not in settings.model_dump_json()


def test_only_secrets_are_read_from_files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id").write_text("4711")
    monkeypatch.setenv("STRAVA_CLIENT_ID_FILE", str(tmp_path / "id"))
    assert load_settings().client_id is None
    assert load_settings().origin_of("client_id") == "default"


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
    assert load_settings().origin_of(field) == "default"


@pytest.mark.parametrize("blanks", ["  {} ", "{}\n", "\r\n\t{}\r\n"])
def test_blanks_and_line_breaks_around_a_value_are_cut(
    home: Path, monkeypatch: pytest.MonkeyPatch, blanks: str
) -> None:
    write_file(home, f'STRAVA_QUOTA_SCOPE="{blanks.format("athlete")}"')
    monkeypatch.setenv("STRAVA_CLIENT_ID", blanks.format("4711"))
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", blanks.format(CANARY))
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", blanks.format("http://127.0.0.1:4000/"))
    monkeypatch.setenv("STRAVA_HOME", blanks.format(home))
    monkeypatch.setenv("A_PORT", blanks.format("81"))
    settings = load_settings(bridge_port={"env": "A_PORT"}, mail_from=blanks.format("Rides <rides@example.org>"))
    assert (settings.home, settings.client_id, settings.bridge_port) == (home, "4711", 81)
    assert settings.required("client_secret") == CANARY
    assert settings.dagster_webserver_url == "http://127.0.0.1:4000"
    assert settings.quota_scope is QuotaScope.ATHLETE
    assert settings.mail_from == "Rides <rides@example.org>"


@pytest.mark.parametrize("blanks", [" ", "\n", " \t\r\n"])
@pytest.mark.parametrize("field", ["client_secret", "client_id", "bridge_port", "dagster_home", "smtp_url"])
def test_a_variable_of_blanks_is_an_unset_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, field: str, blanks: str
) -> None:
    monkeypatch.setenv(variable_name(field), blanks)
    assert getattr(load_settings(), field) == Settings.model_fields[field].default
    assert load_settings().origin_of(field) == "default"
    write_file(
        home, f"{variable_name(field)}={'82' if field == 'bridge_port' else '/4711' if 'home' in field else '4711'}"
    )
    assert getattr(load_settings(), field) != Settings.model_fields[field].default
    assert load_settings().origin_of(field) == "settings file"
    write_file(home, f'{variable_name(field)}="{blanks}"')
    assert getattr(load_settings(), field) == Settings.model_fields[field].default
    assert load_settings().origin_of(field) == "default"


def test_the_name_of_a_secrets_file_loses_its_blanks(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(CANARY, encoding="utf-8")
    monkeypatch.setenv("STRAVA_CLIENT_SECRET_FILE", f" {tmp_path / 'secret'}\n")
    assert secret_of("client_secret") == CANARY
    monkeypatch.setenv("STRAVA_CLIENT_SECRET_FILE", " \n")
    assert load_settings().client_secret is None
    assert load_settings().origin_of("client_secret") == "default"


def test_a_file_of_authorities_has_to_hold_certificates(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("STRAVA_CA_BUNDLE", certificate)
    assert load_settings().ca_bundle == Path(certificate)
    for path, why in ((key, "it holds no certificates in PEM form"), ("/absent", "No such file or directory")):
        monkeypatch.setenv("STRAVA_CA_BUNDLE", path)
        with pytest.raises(ConfigurationError) as caught:
            load_settings()
        told = f"a file of certificates is needed, and {path} cannot be used: {why}"
        assert str(caught.value) == f"STRAVA_CA_BUNDLE is not usable: {told}"


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
    assert load_settings().origin_of("dagster_webserver_url") == "settings file"


URL_FIELDS = ("api_url", "oauth_url", "bridge_public_url")
ALL_URL_FIELDS = (*URL_FIELDS, "dagster_webserver_url")


@pytest.mark.parametrize("field", ALL_URL_FIELDS)
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
def test_plain_http_is_for_this_machine(monkeypatch: pytest.MonkeyPatch, field: str, address: str) -> None:
    monkeypatch.setenv(variable_name(field), f"{address}/")
    assert getattr(load_settings(), field) == address


PRIVATE_ADDRESSES = (
    "http://10.0.0.1",
    "http://127.9.9.9",
    "http://172.16.0.1:3000",
    "http://172.31.255.255",
    "http://192.168.1.4/dagster",
    "http://169.254.7.7",
    "http://[fd00::1]:3000",
    "http://[fe80::1]",
    "http://dagster-webserver:3000",
    "http://Dagster_Webserver",
    "http://webserver.dagster.svc",
    "http://webserver.dagster.svc.cluster.local",
    "http://webserver.dagster.svc.cluster.local.:80",
    "http://host.docker.internal:3000",
)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_dagster_may_be_asked_over_plain_http_within_a_private_network(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", address)
    assert load_settings().dagster_webserver_url == address


@pytest.mark.parametrize("field", URL_FIELDS)
@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_nobody_else_may(monkeypatch: pytest.MonkeyPatch, field: str, address: str) -> None:
    monkeypatch.setenv(variable_name(field), address)
    with pytest.raises(ConfigurationError, match=f"^{variable_name(field)} is not usable: .*this machine only"):
        load_settings()


@pytest.mark.parametrize(
    "address",
    [
        "http://11.0.0.1",
        "http://172.32.0.1",
        "http://192.169.0.1",
        "http://100.64.0.1",
        "http://[2001:db8::1]",
        "http://[::ffff:8.8.8.8]",
        # What resolvers take for 8.8.8.8.
        "http://134744072",
        "http://0x08080808",
        "http://8.526344",
        "http://dagster.example",
        "http://dagster.svc.example",
        "http://dagster.internal.example",
        "http://notinternal.",
        "http://svc.cluster.local.example",
        # An ideographic full stop, which becomes a dot when the name is looked up.
        "http://dagster\u3002example",
        "http://d\u00e4gster",
        "http://10.0.0.1.example",
        "http://-dagster",
    ],
)
def test_plain_http_to_dagster_ends_at_the_private_network(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", address)
    with pytest.raises(
        ConfigurationError, match=r"^DAGSTER_WEBSERVER_URL is not usable: .*private addresses"
    ) as caught:
        load_settings()
    assert address not in str(caught.value)


@pytest.mark.parametrize("field", ALL_URL_FIELDS)
@pytest.mark.parametrize(
    "address",
    [
        "http://strava.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://0.0.0.0",
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


HEADER_SETTING = "Authorization: Bearer canary-of-the-proxy"


def test_a_login_proxys_header_goes_over_plain_http_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().header_for_dagster() is None
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER", HEADER_SETTING)
    for address in ("http://127.0.0.1:3000", "https://dagster.example.org"):
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", address)
        header = load_settings().header_for_dagster()
        assert header is not None
        assert (header.name, header.value.reveal()) == ("Authorization", "Bearer canary-of-the-proxy")
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster-webserver:3000")
    with pytest.raises(ConfigurationError, match="would go to dagster-webserver over plain http") as caught:
        load_settings().header_for_dagster()
    assert "canary" not in str(caught.value)
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER_OVER_HTTP", "true")
    assert load_settings().header_for_dagster() == header


@pytest.mark.parametrize(
    "text", ["canary", "canary-name:", "Host: canary", "A: canary\r\nB: canary", "A: canary\u20ac"]
)
def test_a_header_that_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER", text)
    with pytest.raises(ConfigurationError, match=r"^STRAVA_DAGSTER_HEADER is not usable: .* header ") as caught:
        load_settings()
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_log_shows_the_value_of_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_HEADER", "Cookie: proxy=cookie-canary; other=second-canary")
    load_settings()
    assert redaction.redact("sent cookie-canary, second-canary") == f"sent {redaction.MASK}, {redaction.MASK}"


@pytest.mark.parametrize(
    ("text", "is_right"), [("strava", True), ("team/strava_2", True), ("a.b", False), ("/", False)]
)
def test_a_key_prefix_is_of_names_with_slashes_between(
    monkeypatch: pytest.MonkeyPatch, text: str, is_right: bool
) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_KEY_PREFIX", text)
    if is_right:
        assert load_settings().dagster_key_prefix == text
    else:
        with pytest.raises(ConfigurationError, match=r"^STRAVA_DAGSTER_KEY_PREFIX is not usable: "):
            load_settings()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_id", "canary"),
        ("client_id", "1 2"),
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


def test_only_with_the_word_or_in_commands_the_embedded_postgres_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = load_settings()
    assert not unset.is_embedded
    with pytest.raises(ConfigurationError, match=r"^STRAVA_DATABASE_URL is not set: .*`embedded`") as caught:
        unset.require_database()
    assert "\n" not in str(caught.value)
    assert unset.with_embedded_database().is_embedded
    assert unset.with_embedded_database().origin_of("database_url") == "default"
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    assert load_settings().is_embedded
    assert load_settings().require_database() == "embedded"
    monkeypatch.setenv("STRAVA_DATABASE_URL", "postgresql://db.example/strava")
    named = load_settings()
    assert not named.is_embedded
    assert named.with_embedded_database() is named
    assert named.require_database() == "postgresql://db.example/strava"


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_DATA_IN_HOME")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")


def test_in_a_container_no_data_are_kept_in_the_home_unless_it_is_said(
    container: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not load_settings().keeps_data_in_home
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "true")
    assert load_settings().keeps_data_in_home
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "false")
    assert not load_settings().keeps_data_in_home


def test_in_a_container_each_process_would_have_an_embedded_postgres_of_its_own(
    container: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    told = r"\ASTRAVA_DATABASE_URL=embedded is refused in a container, .* set STRAVA_DATA_IN_HOME=true\Z"
    with pytest.raises(ConfigurationError, match=told):
        load_settings().require_shared_database()
    monkeypatch.setenv("STRAVA_DATABASE_URL", "")
    with pytest.raises(ConfigurationError, match=r"^STRAVA_DATABASE_URL is not set: .*\)$") as caught:
        load_settings().require_shared_database()
    assert "embedded" not in str(caught.value)
    monkeypatch.setenv("STRAVA_DATABASE_URL", "postgresql://db.example/strava")
    load_settings().require_shared_database()


def test_in_a_container_a_lake_needs_an_address(container: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_LAKE_URL is not set, and .*$"):
        load_settings().lake_to_write()
    monkeypatch.setenv("STRAVA_LAKE_URL", "/volume/lake")
    assert load_settings().lake_to_write() == "/volume/lake"


def test_logs_still_say_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    load_settings()
    assert redaction.redact("the embedded Postgres") == "the embedded Postgres"


def test_settings_do_not_change_once_read() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.client_id = "1"  # type: ignore[misc]  # that is the point


def test_a_line_of_the_settings_file_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("STRAVA_CLIENT_ID=5\nthis is no line\n")
    with pytest.raises(ConfigurationError, match="line 2: not of the form NAME=value"):
        load_settings()


def test_no_log_shows_the_keys_in_addresses_that_are_secret(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "STRAVA_ALERT_URLS", "json://me:p4ss-word@alerts.example.org/k3y-of-it tgram://12345678:AbC9/987"
    )
    monkeypatch.setenv("STRAVA_HEARTBEAT_URL", "https://ping.example.org/ping/0b1c2d3e-4f5a?token=t0ken-of-it")
    load_settings()
    said = "alerts.example.org and ping.example.org refused k3y-of-it p4ss-word 12345678:AbC9 0b1c2d3e-4f5a t0ken-of-it"
    assert redaction.redact(said) == f"alerts.example.org and ping.example.org refused {' '.join([redaction.MASK] * 5)}"
