"""Settings by subject, and ``docs/settings.md``, which is made from their descriptions.

``python -m strava_pipeline.settings_page > docs/settings.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_sources import is_secret
from strava_pipeline.settings_values import CertificateFile, GroupName, HttpUrl, LakeUrl, PrivateHttpUrl

# Fields of the settings by subject, in the order in which people need them. A test compares them with all fields.
SUBJECTS = {
    "This machine": (
        "home",
        "data_in_home",
        "runs_at_once",
        "large_run_memory_mib",
        "file_group",
        "log_level",
        "log_format",
        "ca_bundle",
    ),
    "Strava": ("client_id", "client_secret", "token_keys", "api_url", "oauth_url", "outage_patience_hours"),
    "Strava's limits": (
        "quota_scope",
        "quota_short_limit",
        "quota_long_limit",
        "quota_short_window_seconds",
        "quota_long_window_seconds",
    ),
    "The tables' database": (
        "database_url",
        "database_owner_url",
        "database_replica_url",
        "database_pool_size",
        "sql_database_url",
        "analyst_database_url",
        "analyst_role",
    ),
    "Dagster": (
        "dagster_webserver_url",
        "dagster_public_url",
        "dagster_header",
        "dagster_header_over_http",
        "dagster_location",
        "dagster_repository",
        "dagster_key_prefix",
        "dagster_hosts",
        "dagster_home",
        "dagster_postgres_url",
    ),
    "The bridge and its pages": (
        "bridge_port",
        "bridge_public_url",
        "bridge_hosts",
        "trusted_proxies",
        "operator_token",
        "dangerously_open_without_login",
    ),
    "Webhooks": (
        "webhook_verify_token",
        "webhook_path_token",
        "webhook_subscription_id",
        "webhook_signature",
        "webhook_signing_secrets",
    ),
    "Imports and upkeep": (
        "history_start",
        "import_batch_size",
        "import_batch_interval_seconds",
        "archive_details",
        "upkeep_recent_hours",
        "upkeep_details_per_day",
        "upkeep_share",
    ),
    "Files of devices": ("files_folder",),
    "What is kept, and for how long": (
        "retention_days",
        "retention_files",
        "purge_on_deauthorization",
        "inbox_retention_days",
        "audit_retention_days",
        "run_retention_days",
        "failed_run_retention_days",
        "lake_url",
        "upload_url",
        "upload_max_gib",
        "erasures_url",
    ),
    "Mails": ("smtp_url", "mail_from", "mail_max_age_hours"),
    "Metrics and alerts": (
        "metrics_token",
        "metrics_port",
        "metrics_host",
        "alert_to",
        "alert_urls",
        "alert_time_scale",
        "heartbeat_url",
    ),
}
HEADER = """\
# Settings

Made from the descriptions in [settings.py](../strava_pipeline/settings.py) (`make docs`). Each setting is a variable of
the environment, or a line `NAME=value` of the settings file `.env` in `STRAVA_HOME`, which `strava-pipeline init`
writes. The environment goes before the file. Blanks and line breaks around a value are cut, and an empty value counts
as none. A *secret* can also be in a file of its own, which a variable of the environment names:
`STRAVA_CLIENT_SECRET_FILE=/run/secrets/strava`. Such a file goes before the settings file, and after the variable
itself.

Definitions in Dagster may be given settings, too, by their names in small letters without `STRAVA_`: those go first.
Dagster shows what it is given. So a secret is given as `{env: NAME}`, a variable of the process that uses it, or as
`{file: /path}`.

`strava-pipeline doctor` shows each setting with its value and where that comes from, and says what is wrong. A process
reads its settings when it starts: restart it after a change.
"""
_PLAIN = {bool: "`true` or `false`", int: "whole number", float: "number", date: "date, `YYYY-MM-DD`", Path: "folder"}
_LIMITS = {
    "ge": "from {}",
    "gt": "above {}",
    "le": "at most {}",
    "min_length": "at least {} characters",
    "max_length": "at most {} characters",
}
# Types that are text to Python, by the words for what they hold.
_KINDS = (
    (HttpUrl, "http(s) address"),
    (PrivateHttpUrl, "http(s) address"),
    (LakeUrl, "folder or address"),
    (GroupName, "name of a group"),
    (CertificateFile, "file"),
)


def settings_page() -> str:
    """Return the whole page, in Markdown."""
    return "\n".join([HEADER, *(line for subject in SUBJECTS for line in _section(subject))])


def _section(subject: str) -> Iterator[str]:
    yield from (f"## {subject}", "", "| setting | value | default | meaning |", "| --- | --- | --- | --- |")
    for name in SUBJECTS[subject]:
        field = Settings.model_fields[name]
        cells = (f"`{variable_name(name)}`", _value(field), _default(name, field), _meaning(field))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _value(field: FieldInfo) -> str:
    """What may be given, in words: its type and its limits."""
    if is_secret(field):
        return f"secret{_range(field)}"
    for kind, words in _KINDS:
        # Of a field that may not be unset, pydantic moves what the type adds to the metadata.
        if kind in get_args(field.annotation) or set(get_args(kind)[1:]) <= set(field.metadata):
            return words
    plain = _without_none(field.annotation)
    if get_origin(plain) is Literal:
        return _one_of(get_args(plain))
    if issubclass(plain, StrEnum):
        return _one_of(tuple(plain))
    return f"{_PLAIN.get(plain, 'text')}{_range(field)}"


def _without_none(annotation: Any) -> Any:
    """The type of a value that is set, without what is added to it."""
    if get_origin(annotation) in {Union, UnionType}:
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _one_of(values: tuple[str, ...]) -> str:
    *first, last = (f"`{value}`" for value in values)
    return f"{', '.join(first)} or {last}"


def _range(field: FieldInfo) -> str:
    limits = {name: getattr(limit, name) for limit in field.metadata for name in _LIMITS if hasattr(limit, name)}
    if limits.get("min_length") == 1:
        del limits["min_length"]
    if {"ge", "le"} <= limits.keys():
        return f", {limits['ge']} to {limits['le']}"
    return "".join(f", {_LIMITS[name].format(limit)}" for name, limit in limits.items())


def _default(name: str, field: FieldInfo) -> str:
    if name == "home":
        return "`~/.strava-pipeline`"
    if field.default is None:
        return "-"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _meaning(field: FieldInfo) -> str:
    meaning = field.description or ""
    return f"{meaning[:1].upper()}{meaning[1:]}".replace("<", "\\<")


if __name__ == "__main__":
    sys.stdout.write(settings_page())
