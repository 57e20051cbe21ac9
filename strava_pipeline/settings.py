"""All settings, typed, in one class: each is an environment variable.

The first of these sources that has a value counts: what the caller gives; the environment; for secrets, the file that
``<NAME>_FILE`` names; the settings file ``$STRAVA_HOME/.env``; the default here.
Blanks and line breaks around a value are cut wherever it comes from.
:mod:`strava_pipeline.settings_references` resolves what is given, :mod:`strava_pipeline.settings_sources` reads files.
"""

from __future__ import annotations

import os
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from strava_pipeline import redaction
from strava_pipeline.container import in_container
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry, home_from_environment, settings_file
from strava_pipeline.log_lines import LogFormatName
from strava_pipeline.request_header import RequestHeader
from strava_pipeline.secret_parts import secret_parts
from strava_pipeline.settings_references import given_values
from strava_pipeline.settings_sources import (
    PREFIX,
    Environment,
    SecretFiles,
    SettingsFile,
    is_secret,
    variable_of,
    without_blanks,
)
from strava_pipeline.settings_values import (
    EMBEDDED,
    LOOPBACK_HOSTS,
    CertificateFile,
    FolderPath,
    GroupName,
    HomePath,
    HttpUrl,
    LakeUrl,
    LogLevel,
    PastDay,
    PrivateHttpUrl,
)

# Webhooks need one, and imports.
FEWEST_RUNS = 2
# A thread of a bridge, or of a run, may hold one and need another.
FEWEST_CONNECTIONS, USUAL_CONNECTIONS = 5, 15
# Upkeep's share of what live calls and their reserve leave of the quota.
UPKEEP_SHARE = 0.25


Origin = Literal["given", "environment", "secret file", "settings file", "default"]


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
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        # An id written as digits is a number to YAML.
        coerce_numbers_to_str=True,
    )
    _given: frozenset[str] = PrivateAttr(frozenset())

    home: HomePath = Field(
        default_factory=home_from_environment,
        description="folder in which this machine keeps its data and its settings file",
    )
    data_in_home: bool | None = Field(
        None,
        description="whether Dagster's processes may keep data in STRAVA_HOME: an embedded Postgres, and a lake where"
        " STRAVA_LAKE_URL is unset; unset: unless they run in a container, of which each has a STRAVA_HOME of its own."
        " up and demo always may",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Postgres of the tables; embedded: one under STRAVA_HOME, which starts by itself; unset: commands,"
        " such as up and demo, use that one, and other processes, such as Dagster's, say that an address is missing",
    )
    database_replica_url: SecretStr | None = Field(
        None,
        description="a streaming replica of the tables' Postgres: while that is away, pages and commands that only show"
        " something read from the replica; unset: none",
    )
    database_owner_url: SecretStr | None = Field(
        None,
        description="the same Postgres as the tables' owner, for migrate, analysts add, backup and restore load; unset:"
        " STRAVA_DATABASE_URL",
    )
    database_pool_size: int = Field(
        USUAL_CONNECTIONS,
        ge=FEWEST_CONNECTIONS,
        le=200,
        description="connections that one process opens to the tables at most, and a bridge as many again for its"
        " pages; docs/database.md has the sum",
    )
    sql_database_url: SecretStr | None = Field(
        None, description="the same Postgres for sql, as a login that may only read; unset: the one that migrate made"
    )
    analyst_database_url: SecretStr | None = Field(
        None, description="the same Postgres for sql --as-analyst; unset: the login that migrate made"
    )
    analyst_role: str = Field(
        "strava_analyst",
        min_length=1,
        max_length=63,
        description="role in Postgres that may read schema strava and nothing else; migrate makes it",
    )
    api_url: HttpUrl = Field("https://www.strava.com/api/v3", description="address of Strava's API")
    oauth_url: HttpUrl = Field("https://www.strava.com/oauth", description="address of Strava's OAuth")
    ca_bundle: CertificateFile | None = Field(
        None,
        description="file of certificate authorities (PEM) to trust beside the public ones, such as a company's: for"
        " Strava, Dagster's webserver, the mail server, the heartbeat; unset: none",
    )
    client_id: str | None = Field(None, pattern=r"^[0-9]+$", description="the Strava app's id")
    client_secret: SecretStr | None = Field(None, description="the Strava app's secret")
    token_keys: SecretStr | None = Field(
        None,
        description="keys that encrypt the stored tokens: id:base64 of 32 bytes, comma between; the first one encrypts,"
        " all decrypt; init makes one",
    )
    quota_scope: QuotaScope = Field(
        QuotaScope.APP, description="whose limits are counted: the app's, as Strava does, or each athlete's"
    )
    quota_short_limit: int = Field(
        100,
        gt=0,
        description="read requests per short window, until Strava's answers tell the limit; if you set it, never more"
        " than this",
    )
    quota_long_limit: int = Field(
        1000,
        gt=0,
        description="read requests per long window, until Strava's answers tell the limit; if you set it, never more"
        " than this",
    )
    quota_short_window_seconds: int = Field(
        900, gt=0, description="length of the short window, s; other than Strava's for tests"
    )
    quota_long_window_seconds: int = Field(
        86400, gt=0, description="length of the long window, s; other than Strava's for tests"
    )
    archive_details: bool = Field(
        False,
        description="whether details are asked for of activities that an archive tells of: efforts on segments, laps of"
        " Strava's and what others did, a request each",
    )
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
    webhook_verify_token: SecretStr | None = Field(
        None, description="what Strava has to repeat when it subscribes the bridge; init makes one"
    )
    webhook_signature: SignatureMode = Field(
        SignatureMode.REQUIRED,
        description="required: a delivery must be signed (X-Strava-Signature); optional: a signature is checked if"
        " there is one; both need STRAVA_WEBHOOK_SIGNING_SECRETS; off: no signature is looked at; optional and off need"
        " STRAVA_WEBHOOK_PATH_TOKEN",
    )
    webhook_signing_secrets: SecretStr | None = Field(
        None, description="keys of the signatures, comma between; all are tried"
    )
    webhook_subscription_id: int | None = Field(
        None,
        gt=0,
        description="id of our subscription at Strava, which webhook subscribe prints; deliveries of others are"
        " refused; unset: all are taken",
    )
    webhook_path_token: SecretStr | None = Field(
        None, description="unguessable last part of the callback's path; init makes one; unset: none"
    )
    inbox_retention_days: int = Field(
        30, ge=0, description="how long webhook events are kept once they took effect, days; 0: for ever"
    )
    audit_retention_days: int = Field(
        400, ge=0, description="how long the audits of the operator's actions and of tokens are kept, days; 0: for ever"
    )
    run_retention_days: int = Field(
        14,
        ge=0,
        description="how long Dagster's runs of ours are kept once they succeeded, but for the last of each partition,"
        " days; 0: for ever",
    )
    failed_run_retention_days: int = Field(
        90, ge=0, description="how long runs of ours are kept that failed or were canceled, days; 0: for ever"
    )
    import_batch_size: int = Field(75, ge=50, le=100, description="activities that an import fetches in one batch")
    import_batch_interval_seconds: float = Field(
        150, ge=0, allow_inf_nan=False, description="from one batch's start to the next's, s; 0: no pause"
    )
    outage_patience_hours: float = Field(
        24,
        ge=0,
        allow_inf_nan=False,
        description="how long a backfill waits while Strava or a database does not answer, or the app is off, h",
    )
    history_start: PastDay = Field(date(2008, 1, 1), description="no month before this one has partitions")
    retention_days: int | None = Field(
        None, ge=1, description="activities that started longer ago are deleted, and not fetched; unset: kept for good"
    )
    retention_files: bool = Field(
        False,
        description="whether the same holds for what archives and files tell; otherwise only what came by the API goes",
    )
    lake_url: LakeUrl | None = Field(
        None, description="where samples go as Parquet: a folder or an fsspec address; unset: STRAVA_HOME/lake"
    )
    erasures_url: LakeUrl | None = Field(
        None,
        description="where the list of erasures is, which a restore needs: a folder or an fsspec address, outside of"
        " backups, that all hosts and containers share; unset: STRAVA_HOME/erasures",
    )
    files_folder: FolderPath | None = Field(
        None,
        description="folder in which files of devices are dropped: in it a folder for each athlete, named by id; unset:"
        " none",
    )
    upload_url: LakeUrl | None = Field(
        None,
        description="where files that are uploaded by a browser lie until they are imported: a folder that the bridge"
        " and the runs share, or an fsspec address; unset: STRAVA_HOME/uploads",
    )
    upload_max_gib: float = Field(
        8, gt=0, le=1024, allow_inf_nan=False, description="largest file that can be uploaded by a browser, GiB"
    )
    file_group: GroupName | None = Field(
        None, description="group of this machine that may read the lake's files; unset: their owner alone"
    )
    purge_on_deauthorization: bool = Field(
        True,
        description="whether to delete the data of athletes who deauthorize the app or are disconnected on the page",
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
        False,
        description="if true, whoever reaches the operator's page or Dagster's UI is the operator, without a token",
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
    runs_at_once: int | None = Field(
        None,
        ge=FEWEST_RUNS,
        le=100,
        description="Dagster's runs at once; unset: as many as fit into the memory at 170 MB each, ten at most",
    )
    large_run_memory_mib: int | None = Field(
        None,
        ge=0,
        description="memory in Kubernetes of runs that write files of the lake, by a tag that dagster-k8s reads, MiB;"
        " 0: no tag, and so that of all runs; unset: 640 in a Dagster of the pipeline's own, no tag in others",
    )
    log_level: LogLevel | None = Field(
        None,
        description="from which level on processes log, such as DEBUG; unset: INFO for the bridge and runs, WARNING for"
        " commands",
    )
    log_format: LogFormatName = Field(
        LogFormatName.TEXT,
        description="how each process of ours logs: in words, or one JSON object a line with its ids",
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="bearer token that opens the bridge's /metrics and nothing else; without it and without"
        " STRAVA_METRICS_PORT there is no /metrics",
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port of its own for /metrics, without a token; unset: none"
    )
    metrics_host: str = Field("127.0.0.1", min_length=1, description="address on which the port of metrics listens")
    alert_to: str | None = Field(
        None,
        description="addresses that alerts are mailed to, comma between; needs STRAVA_SMTP_URL and STRAVA_MAIL_FROM",
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Apprise addresses that alerts go to, such as ntfys://ntfy.sh/TOPIC, space between; needs the"
        " package apprise",
    )
    alert_time_scale: float = Field(
        1.0,
        gt=0,
        le=10,
        allow_inf_nan=False,
        description="multiplies how long a fault must last until its alert is told, and how long it must be over"
        " until its end is told; 0.5: after half the time",
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="address elsewhere that gets a GET each minute while no critical alert is on, so that silence is"
        " noticed there; unset: none",
    )
    bridge_port: int = Field(8080, ge=0, le=65535, description="port of the bridge")
    dagster_webserver_url: PrivateHttpUrl = Field(
        "http://127.0.0.1:3000",
        validation_alias="DAGSTER_WEBSERVER_URL",
        description="Dagster's webserver, which the bridge asks for runs; plain http within a private network only",
    )
    dagster_public_url: HttpUrl | None = Field(
        None,
        description="Dagster's UI as browsers reach it, for links on the operator's page and in alerts, such as"
        " https://dagster.example.org; its name stands in STRAVA_DAGSTER_HOSTS, too; unset: DAGSTER_WEBSERVER_URL",
    )
    dagster_header: SecretStr | None = Field(
        None,
        description="header for a login proxy in front of Dagster's webserver, such as Authorization: Bearer TOKEN;"
        " sent with each request to it; unset: none",
    )
    dagster_header_over_http: bool = Field(
        False, description="whether that header may be sent over plain http to another machine"
    )
    dagster_location: str | None = Field(
        None, min_length=1, description="code location that has our jobs; unset: Dagster is asked for it"
    )
    dagster_repository: str | None = Field(
        None, min_length=1, description="repository that has our jobs; unset: Dagster is asked for it"
    )
    dagster_key_prefix: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$",
        description="prefix of our assets' keys, a slash between its parts; unset: Dagster is asked for it",
    )
    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="folder of Dagster's instance; unset: dagster in STRAVA_HOME"
    )
    dagster_postgres_url: SecretStr | None = Field(
        None,
        validation_alias="DAGSTER_POSTGRES_URL",
        description="Postgres of Dagster's own storage; unset: a second database on the tables' server, named as"
        " theirs with _dagster behind it",
    )

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._given = frozenset(given)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in their order; see the module's docstring."""
        home = init_settings().get("home")
        return init_settings, Environment(settings_cls), SecretFiles(settings_cls), SettingsFile(settings_cls, home)

    @field_validator("dagster_header")
    @classmethod
    def _check_header(cls, text: SecretStr | None) -> SecretStr | None:
        if text is not None:
            RequestHeader.parse(text.get_secret_value())
        return text

    def origin_of(self, field: str) -> Origin:
        """Return where a field's value comes from."""
        name = variable_name(field)
        if {field, name} & self._given:
            return "given"
        if without_blanks(os.environ.get(name)):
            return "environment"
        if without_blanks(os.environ.get(f"{name}_FILE")) and is_secret(Settings.model_fields[field]):
            return "secret file"
        if without_blanks(dotenv_values(settings_file(self.home)).get(name)):
            return "settings file"
        return "default"

    @property
    def is_embedded(self) -> bool:
        """Whether the tables are in the embedded Postgres, which whoever connects starts."""
        return self.database_url is not None and self.database_url.get_secret_value() == EMBEDDED

    @property
    def dagster_pages(self) -> str:
        """The address of Dagster's UI for people, to which a path is added."""
        return self.dagster_public_url or self.dagster_webserver_url

    @property
    def keeps_data_in_home(self) -> bool:
        """Whether all processes share ``STRAVA_HOME``, and it lasts, so that data may be kept there."""
        return not in_container() if self.data_in_home is None else self.data_in_home

    def with_embedded_database(self) -> Self:
        """Return these settings; where they name no database, with the embedded Postgres, for commands."""
        return self if self.database_url else self.model_copy(update={"database_url": SecretStr(EMBEDDED)})

    def require_database(self) -> str:
        """Return ``STRAVA_DATABASE_URL``: an address, or ``embedded``. Starts nothing, and makes no folder.

        ``ConfigurationError`` if it is unset, as it may be for commands only.
        """
        if self.database_url is None:
            embedded = (
                ", or `embedded` for the one under STRAVA_HOME, which only strava-pipeline's commands start without"
                " being told"
            )
            raise ConfigurationError(
                "STRAVA_DATABASE_URL is not set: name the tables' Postgres (postgresql://...)"
                f"{embedded if self.keeps_data_in_home else ''}"
            )
        return self.database_url.get_secret_value()

    def require_shared_database(self) -> None:
        """Raise ``ConfigurationError`` if ``STRAVA_DATABASE_URL`` is unset or, in a container, ``embedded``.

        Dagster's processes call this first. They would go on with an empty database of their own, and in containers
        each with another one.
        """
        self.require_database()
        if self.is_embedded and not self.keeps_data_in_home:
            raise ConfigurationError(
                "STRAVA_DATABASE_URL=embedded is refused in a container, where each process would start a Postgres of"
                " its own: name one Postgres for all of them (postgresql://...), or, where all of them run in this one"
                " container, set STRAVA_DATA_IN_HOME=true"
            )

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

    def lake_to_write(self) -> str:
        """Return :meth:`lake_location`; ``ConfigurationError`` in a container where ``STRAVA_LAKE_URL`` is not set."""
        if self.lake_url is None and not self.keeps_data_in_home:
            raise ConfigurationError(
                "STRAVA_LAKE_URL is not set, and a lake in STRAVA_HOME would go with this container: name an address"
                " that fsspec knows, or a folder on a volume that all containers share"
            )
        return self.lake_location()

    def upload_location(self) -> str:
        """The URL of uploads, or their folder under ``STRAVA_HOME`` where no URL is set."""
        return self.upload_url or str(self.home / HomeEntry.UPLOADS)

    def uploads_to_write(self) -> str:
        """Return :meth:`upload_location`; ``ConfigurationError`` in a container where no URL is set."""
        if self.upload_url is None and not self.keeps_data_in_home:
            raise ConfigurationError(
                "STRAVA_UPLOAD_URL is not set, and runs would not see uploads in this container's STRAVA_HOME: name an"
                " address that fsspec knows, or a folder on a volume that all containers share"
            )
        return self.upload_location()

    @property
    def upload_max_bytes(self) -> int:
        """The size of the largest file that can be uploaded by a browser, bytes."""
        return int(self.upload_max_gib * 2**30)

    def erasures_location(self) -> str:
        """The URL of the list of erasures, or its folder under ``STRAVA_HOME`` where no URL is set."""
        return self.erasures_url or str(self.home / HomeEntry.ERASURES)

    def erasures_to_write(self) -> str:
        """Return :meth:`erasures_location`; ``ConfigurationError`` in a container where no URL is set."""
        if self.erasures_url is None and not self.keeps_data_in_home:
            raise ConfigurationError(
                "STRAVA_ERASURES_URL is not set, and a list of erasures in STRAVA_HOME would go with this container:"
                " name an address that fsspec knows, or a folder on a volume that all containers share"
            )
        return self.erasures_location()

    @property
    def mail_max_age(self) -> timedelta:
        """How long after its end an activity gets a mail."""
        return timedelta(hours=self.mail_max_age_hours)

    def signing_secrets(self) -> list[bytes]:
        """Return the configured signing keys, in order; empty if none is set."""
        joined = self.webhook_signing_secrets.get_secret_value() if self.webhook_signing_secrets else ""
        return [part.strip().encode() for part in joined.split(",") if part.strip()]

    def header_for_dagster(self) -> RequestHeader | None:
        """Return the header that each request to Dagster's webserver carries, if one is set.

        ``ConfigurationError`` if it would go over plain http to another machine, and no setting allows that.
        """
        if self.dagster_header is None:
            return None
        address = urlsplit(self.dagster_webserver_url)
        if address.scheme == "http" and address.hostname not in LOOPBACK_HOSTS and not self.dagster_header_over_http:
            raise ConfigurationError(
                f"STRAVA_DAGSTER_HEADER would go to {address.hostname} over plain http, where others can read it: use"
                " https in DAGSTER_WEBSERVER_URL, or set STRAVA_DAGSTER_HEADER_OVER_HTTP=true in a network you trust"
            )
        return RequestHeader.parse(self.dagster_header.get_secret_value())


def variable_name(field: str) -> str:
    """Return the name of the environment variable for a field of :class:`Settings`."""
    return variable_of(field, Settings.model_fields[field])


def secret_variables() -> frozenset[str]:
    """Return the names of the environment variables that hold a secret."""
    return frozenset(variable_name(name) for name, field in Settings.model_fields.items() if is_secret(field))


def load_settings(**given: Any) -> Settings:
    """Return the settings; their secrets are registered for redaction.

    ``given``: values of fields, which go before all other sources. A value is plain, or a reference to a variable
    (``{"env": "NAME"}``) or a file (``{"file": "/path"}``), which a secret has to be. A ``home`` decides which settings
    file is read. ``ConfigurationError``, in one line without the value, for a value that is not usable, an unknown name
    or a secret in clear text.
    """
    try:
        settings = Settings(**given_values(given, Settings.model_fields))
    except ValidationError as error:
        # The message does not contain the value, which may be a secret.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        name = variable_name(field) if field in Settings.model_fields else field
        raise ConfigurationError(f"{name} is not usable: {first['msg'].removeprefix('Value error, ')}") from None
    for field, value in vars(settings).items():
        if isinstance(value, SecretStr):
            for text in secret_parts(field, value.get_secret_value()):
                redaction.register_secret(text)
    return settings
