"""All settings, typed, in one class: each is an environment variable.

The first of these sources that has a value counts: the environment; for secrets, the file that ``<NAME>_FILE`` names;
the settings file ``$STRAVA_HOME/.env``; the default here.
"""

from __future__ import annotations

import grp
import io
import os
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError

PREFIX = "STRAVA_"
# Special between double quotes, where pg_ctl puts the path in a shell command.
_OF_A_SHELL = frozenset('"$`\\')
# Upkeep's share of what live calls and their reserve leave of the quota.
UPKEEP_SHARE = 0.25
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def home_from_environment() -> Path:
    """Return ``STRAVA_HOME``, the folder in which this machine keeps its data and its settings file.

    ``ConfigurationError`` for a path that Postgres' programs cannot use, and for the home of an unknown user.
    """
    try:
        home = Path(os.environ.get("STRAVA_HOME") or Path.home() / ".strava-pipeline").expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"STRAVA_HOME names the home of an unknown user: {error}") from None
    # The embedded Postgres gets the path with its links resolved.
    for path in (str(home), os.path.realpath(home)):
        odd = next((char for char in path if char in _OF_A_SHELL or not char.isprintable()), None)
        if odd is not None:
            raise ConfigurationError(
                f"STRAVA_HOME {path!a} holds {odd!a}, which Postgres' programs do not accept in a path:"
                " choose a folder whose path has no line break, control character, byte outside UTF-8,"
                ' nor any of " $ ` \\'
            )
    return home


def _checked_url(value: str) -> str:
    parts = urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an address without credentials, query and fragment is needed")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("plain http is allowed to this machine only; use https")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http(s) address")
    return value.rstrip("/")


def _without_credentials(value: str) -> str:
    if "@" in urlsplit(value).netloc:
        raise ValueError("an address without credentials is needed; the storage's own variables hold those")
    return value


def _not_to_come(value: date) -> date:
    if value > datetime.now(UTC).date():
        raise ValueError("a date that has come (UTC) is needed")
    return value


def _known_group(value: str) -> str:
    try:
        grp.getgrnam(value)
    except KeyError:
        raise ValueError(f"this machine has no group {value}") from None
    return value


def _in_capitals(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


HomePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
HttpUrl = Annotated[str, AfterValidator(_checked_url)]
LakeUrl = Annotated[str, AfterValidator(_without_credentials)]
PastDay = Annotated[date, AfterValidator(_not_to_come)]
GroupName = Annotated[str, AfterValidator(_known_group)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_in_capitals)]


class SignatureMode(StrEnum):
    """What the bridge does with ``X-Strava-Signature``."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    OFF = "off"


class QuotaScope(StrEnum):
    """Whose rate limits are counted: the app's, as Strava does, or each athlete's own."""

    APP = "app"
    ATHLETE = "athlete"


class Settings(BaseSettings):
    """All settings; field ``client_id`` is the variable ``STRAVA_CLIENT_ID``, and so on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    home: HomePath = Field(
        default_factory=home_from_environment, description="where data and settings of this machine live"
    )
    database_url: SecretStr | None = Field(
        None, description="Postgres of the tables; unset: an embedded one under STRAVA_HOME"
    )
    database_replica_url: SecretStr | None = Field(
        None, description="a read-only copy of that Postgres, for pages while the first is away"
    )
    database_owner_url: SecretStr | None = Field(
        None,
        description="the same Postgres as the tables' owner, for migrate and analysts add; unset: STRAVA_DATABASE_URL",
    )
    sql_database_url: SecretStr | None = Field(
        None, description="the same Postgres for sql, as a login that may only read; unset: the one that migrate made"
    )
    analyst_database_url: SecretStr | None = Field(
        None, description="the same Postgres for sql --as-analyst; unset: the login that migrate made"
    )
    analyst_role: str = Field("strava_analyst", min_length=1, max_length=63, description="who may read schema strava")
    api_url: HttpUrl = Field("https://www.strava.com/api/v3", description="Strava's API")
    oauth_url: HttpUrl = Field("https://www.strava.com/oauth", description="Strava's OAuth pages")
    client_id: str | None = Field(None, pattern=r"^[0-9]+$", description="the Strava app's id")
    client_secret: SecretStr | None = Field(None, description="the Strava app's secret")
    token_keys: SecretStr | None = Field(
        None, description="keys of the stored tokens: id:base64 of 32 bytes, comma between, first one writes"
    )
    quota_scope: QuotaScope = Field(QuotaScope.APP, description="whose limits: app (Strava's rule), or each athlete's")
    quota_short_limit: int = Field(100, gt=0, description="requests per short window, at most")
    quota_long_limit: int = Field(1000, gt=0, description="requests per long window, at most")
    quota_short_window_seconds: int = Field(900, gt=0, description="length of the short window, s")
    quota_long_window_seconds: int = Field(86400, gt=0, description="length of the long window, s")
    upkeep_recent_hours: int = Field(
        6,
        ge=1,
        le=168,
        description="how often the last seven days of each athlete are listed, h; a request each time, and two for each"
        " new activity",
    )
    upkeep_details_per_day: int = Field(
        100, ge=0, le=10_000, description="details fetched anew a day, oldest first, from quota left over; 0: none"
    )
    upkeep_share: float = Field(
        UPKEEP_SHARE, gt=0, le=0.5, description="upkeep's share of what live calls and their reserve leave of the quota"
    )
    webhook_verify_token: SecretStr | None = Field(None, description="answers Strava's handshake")
    webhook_signature: SignatureMode = Field(SignatureMode.REQUIRED, description="required, optional or off")
    webhook_signing_secrets: SecretStr | None = Field(
        None, description="keys of X-Strava-Signature, comma between; all are tried"
    )
    webhook_subscription_id: int | None = Field(None, gt=0, description="deliveries of others are refused")
    webhook_path_token: SecretStr | None = Field(None, description="unguessable last part of the callback's path")
    inbox_retention_days: int = Field(
        30, ge=0, description="how long webhook events are kept once they took effect, days; 0: for ever"
    )
    audit_retention_days: int = Field(
        400, ge=0, description="how long the audits of the operator's actions and of tokens are kept, days; 0: for ever"
    )
    import_batch_size: int = Field(75, ge=50, le=100, description="activities fetched per batch")
    import_batch_interval_seconds: float = Field(
        150, ge=0, allow_inf_nan=False, description="from one batch's start to the next's, s; 0: no pause"
    )
    outage_patience_hours: float = Field(
        24,
        ge=0,
        allow_inf_nan=False,
        description="how long a backfill waits while Strava or a database does not answer, or the app is off, h",
    )
    history_start: PastDay = Field(date(2008, 1, 1), description="first month that has partitions")
    retention_days: int | None = Field(
        None, ge=1, description="activities that started longer ago are deleted, and not fetched; unset: kept for good"
    )
    lake_url: LakeUrl | None = Field(
        None, description="where samples go as Parquet: a folder or an fsspec address; unset: STRAVA_HOME/lake"
    )
    file_group: GroupName | None = Field(
        None, description="group of this machine that may read the lake's files; unset: their owner alone"
    )
    purge_on_deauthorization: bool = Field(
        True,
        description="delete the data of who deauthorizes the app or is disconnected on the page; false: keep it",
    )
    bridge_public_url: HttpUrl | None = Field(
        None, description="the bridge as Strava and browsers reach it, such as https://strava.example.org"
    )
    bridge_hosts: str | None = Field(
        None,
        description="names by which browsers reach the bridge's pages, beside loopback's and the public one;"
        " comma between",
    )
    trusted_proxies: int = Field(
        0, ge=0, le=5, description="proxies in front of the bridge; 0: X-Forwarded-For and the like are ignored"
    )
    operator_token: SecretStr | None = Field(
        None, min_length=16, description="opens the operator's page and Dagster's UI; init, up and demo make one"
    )
    dangerously_open_without_login: bool = Field(
        False, description="true: whoever reaches the operator's page or Dagster's UI is the operator, without a token"
    )
    dagster_hosts: str | None = Field(
        None, description="names by which browsers reach Dagster's UI, beside loopback's; comma between"
    )
    smtp_url: SecretStr | None = Field(
        None, description="mail server: smtp+starttls://user:password@host:587, or smtps://...; unset: no mails"
    )
    mail_from: str | None = Field(None, description="sender of the mails, such as Rides <rides@example.org>")
    mail_max_age_hours: int = Field(
        24, ge=1, le=1440, description="no mail goes out about an activity that ended longer ago, h"
    )
    log_level: LogLevel | None = Field(
        None,
        description="from which level on commands log to standard error, such as DEBUG;"
        " unset: INFO for the bridge, WARNING for the others",
    )
    bridge_port: int = Field(8080, ge=0, le=65535, description="port of the bridge")
    dagster_webserver_url: HttpUrl = Field(
        "http://127.0.0.1:3000",
        validation_alias="DAGSTER_WEBSERVER_URL",
        description="Dagster's webserver, which the bridge asks for runs",
    )
    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="Dagster's instance; unset: under STRAVA_HOME"
    )
    dagster_postgres_url: SecretStr | None = Field(
        None,
        validation_alias="DAGSTER_POSTGRES_URL",
        description="Dagster's own storage; unset: a database <ours>_dagster on the same server",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in their order; see the module's docstring."""
        return init_settings, env_settings, _SecretFiles(settings_cls), _SettingsFile(settings_cls)

    def required(self, field: str) -> str:
        """Return the text of a setting that the command needs; ``ConfigurationError`` if it is not set."""
        self.require(field)
        value = getattr(self, field)
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def require(self, *fields: str) -> None:
        """Raise ``ConfigurationError`` if a setting is missing; it names all missing ones, and where to put them."""
        missing = [variable_name(field) for field in fields if getattr(self, field) is None]
        if not missing:
            return
        path = settings_file(self.home)
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        where = (
            f"put {them} into the environment or into {path}"
            if path.exists()
            else f"run strava-pipeline init first, which writes {path}, or put {them} into the environment"
        )
        raise ConfigurationError(f"{' and '.join(missing)} {are} not set: {where}")

    def lake_location(self) -> str:
        """The URL of the lake, or its folder under ``STRAVA_HOME`` where no URL is set."""
        return self.lake_url or str(self.home / HomeEntry.LAKE)

    @property
    def mail_max_age(self) -> timedelta:
        """How long after its end an activity gets a mail."""
        return timedelta(hours=self.mail_max_age_hours)

    def signing_secrets(self) -> list[bytes]:
        """Return the configured signing keys, in order; empty if none is set."""
        joined = self.webhook_signing_secrets.get_secret_value() if self.webhook_signing_secrets else ""
        return [part.strip().encode() for part in joined.split(",") if part.strip()]


class HomeEntry(StrEnum):
    """All names of files and folders that this program makes in ``STRAVA_HOME``."""

    SETTINGS = ".env"
    DAGSTER = "dagster"
    DATABASE_LOGINS = "database.logins"
    LAKE = "lake"
    LOGS = "logs"
    POSTGRES = "postgres"
    POSTGRES_LOGINS = "postgres.logins"
    POSTGRES_NEW = "postgres.new"
    POSTGRES_SOCKET = "postgres.socket"
    POSTGRES_STARTING = "postgres.starting"
    POSTGRES_USERS = "postgres.users"
    TEMPORARY = "tmp"
    TEMPORARY_NOTE = "temporary.folder"
    WORK = "work"


def settings_file(home: Path) -> Path:
    """Return the path of the settings file in ``home``, which is ``STRAVA_HOME``."""
    return home / HomeEntry.SETTINGS


def variable_name(field: str) -> str:
    """Return the name of the environment variable for a field of :class:`Settings`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"


def secret_variables() -> frozenset[str]:
    """Return the names of the environment variables that hold a secret."""
    return frozenset(variable_name(name) for name, field in Settings.model_fields.items() if _is_secret(field))


def load_settings(**overrides: Any) -> Settings:
    """Return the settings; their secrets are registered for redaction. ``ConfigurationError`` for an unusable value."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        # The message does not contain the value, which may be a secret.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        name = variable_name(field) if field in Settings.model_fields else field
        raise ConfigurationError(f"{name} is not usable: {first['msg']}") from None
    for value in vars(settings).values():
        if isinstance(value, SecretStr):
            for text in _secret_parts(value.get_secret_value()):
                redaction.register_secret(text)
    return settings


def _secret_parts(text: str) -> list[str]:
    """The parts of a secret setting that must not show: each entry of a list, or the password of an address."""
    if "://" in text:
        return [urlsplit(text).password or ""]
    return [part.rpartition(":")[2].strip() for part in text.split(",")]


Origin = Literal["environment", "secret file", "settings file", "default"]


def origin_of(field: str, home: Path) -> Origin:
    """Return where a field's value comes from."""
    name = variable_name(field)
    if os.environ.get(name):
        return "environment"
    if os.environ.get(f"{name}_FILE") and _is_secret(Settings.model_fields[field]):
        return "secret file"
    if dotenv_values(settings_file(home)).get(name):
        return "settings file"
    return "default"


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


class _NamedValues(PydanticBaseSettingsSource):
    """A source that looks up each field by the name of its environment variable.

    pydantic-settings' own sources silently skip malformed lines, and know no ``<NAME>_FILE``.
    """

    def lookup(self, name: str, field: FieldInfo) -> str | None:
        raise NotImplementedError

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.lookup(variable_name(field_name), field), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value = self.get_field_value(field, field_name)[0]
            if value:
                key = field.validation_alias if isinstance(field.validation_alias, str) else field_name
                found[key] = value
        return found


class _SecretFiles(_NamedValues):
    def lookup(self, name: str, field: FieldInfo) -> str | None:
        path = os.environ.get(f"{name}_FILE")
        if not path or not _is_secret(field):
            return None
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigurationError(f"{name}_FILE cannot be read: {path}: {reason}") from None


def _read_settings_file(path: Path) -> dict[str, str | None]:
    """The variables in the file; ``ConfigurationError`` for a malformed line, and for a file of another user."""
    try:
        for ours in (path.parent, path):
            # The owner of the file or its folder could make this program do anything in this user's name.
            if ours.stat().st_uid not in {os.geteuid(), 0}:
                raise ConfigurationError(f"{ours} belongs to another user: chown it, or choose another STRAVA_HOME")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise ConfigurationError(f"{path}, line {binding.original.line}: not of the form NAME=value")
    return dotenv_values(stream=io.StringIO(text), interpolate=False)


class _SettingsFile(_NamedValues):
    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._values = _read_settings_file(settings_file(home_from_environment()))

    def lookup(self, name: str, field: FieldInfo) -> str | None:  # noqa: ARG002  the signature is the class's
        return self._values.get(name)
