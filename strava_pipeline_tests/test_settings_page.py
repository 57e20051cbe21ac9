"""``docs/settings.md`` has every setting once, under its subject, with all that a stranger needs to set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_page import SUBJECTS, settings_page
from strava_pipeline.settings_sources import is_secret

DOCS = Path(__file__).parents[1] / "docs"


def row_of(name: str) -> list[str]:
    (row,) = [line for line in settings_page().splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_each_setting_has_one_subject_and_a_description() -> None:
    grouped = [field for fields in SUBJECTS.values() for field in fields]
    assert sorted(grouped) == sorted(Settings.model_fields)
    for field in Settings.model_fields:
        _, value, default, meaning = row_of(variable_name(field))
        assert value
        assert default
        assert len(meaning) > 10
        assert not meaning.endswith(".")


def test_secrets_are_marked_and_have_no_default() -> None:
    secrets = {variable_name(name) for name, field in Settings.model_fields.items() if is_secret(field)}
    assert {"STRAVA_CLIENT_SECRET", "STRAVA_DATABASE_URL", "STRAVA_ALERT_URLS"} <= secrets
    for name in secrets:
        assert row_of(name)[1].startswith("secret")
        assert row_of(name)[2] == "-"


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("STRAVA_HOME", "folder", "`~/.strava-pipeline`"),
        ("STRAVA_RUNS_AT_ONCE", "whole number, 2 to 100", "-"),
        ("STRAVA_UPKEEP_SHARE", "number, above 0, at most 0.5", "`0.25`"),
        ("STRAVA_OPERATOR_TOKEN", "secret, at least 16 characters", "-"),
        ("STRAVA_QUOTA_SCOPE", "`app` or `athlete`", "`app`"),
        ("STRAVA_LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`", "-"),
        ("STRAVA_API_URL", "http(s) address", "`https://www.strava.com/api/v3`"),
        ("STRAVA_BRIDGE_PUBLIC_URL", "http(s) address", "-"),
        ("STRAVA_LAKE_URL", "folder or address", "-"),
        ("STRAVA_HISTORY_START", "date, `YYYY-MM-DD`", "`2008-01-01`"),
        ("STRAVA_PURGE_ON_DEAUTHORIZATION", "`true` or `false`", "`true`"),
        ("STRAVA_MAIL_FROM", "text", "-"),
    ],
)
def test_what_may_be_given_and_the_default_are_said(name: str, value: str, default: str) -> None:
    assert row_of(name)[1:3] == [value, default]


def test_the_page_is_what_the_settings_say() -> None:
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == settings_page(), "make docs writes it anew"
