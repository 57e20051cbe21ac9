"""Pages for users name jobs and schedules as Dagster shows them: with the prefix of a deployment of our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strava_pipeline.names import OWN_NAMES, Job

ROOT = Path(__file__).parents[1]
# Where earlier names stand beside those of now.
OF_EARLIER_NAMES = "upgrading.md"
PAGES = sorted(page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if page.name != OF_EARLIER_NAMES)
# Names that are no words of everyday language.
JOBS = [
    name for key, name in vars(Job).items() if key.isupper() and name != Job.ASSETS and "_" in name
]  # fmt: skip
PLAIN = re.compile(rf"(?<![\w/])(?:{'|'.join(JOBS)}|[a-z_]+_every_(?:five_minutes|night|hour))(?![\w.])")


def without_prefix(text: str) -> list[str]:
    return [name for name in PLAIN.findall(text) if not name.startswith(f"{OWN_NAMES.prefix}_")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_jobs_and_schedules_with_the_prefix(page: Path) -> None:
    assert without_prefix(page.read_text(encoding="utf-8")) == []


def test_a_name_without_the_prefix_would_be_found() -> None:
    told = "`webhook_sync`, `strava_webhook_sync`, `retention_every_night`, `strava_retention_every_night`"
    assert without_prefix(told) == ["webhook_sync", "retention_every_night"]
