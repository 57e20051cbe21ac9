"""docs/dashboards.md names every panel of the dashboards, by row, and those that are empty when all is well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strava_pipeline_tests.deploy.grafana import ALL, FOLDER, Dashboard

PAGE = (Path(__file__).parents[2] / "docs" / "dashboards.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)


def told_rows() -> dict[str, list[str]]:
    """The panels by row, as the tables of the page have them."""
    return {row.removesuffix(" (closed)"): panels.split("; ") for row, panels in _ROW.findall(PAGE)}


@pytest.mark.parametrize("dashboard", ALL, ids=lambda dashboard: dashboard.path.stem)
def test_the_page_names_the_panels_of_each_row(dashboard: Dashboard) -> None:
    rows: dict[str, list[str]] = {}
    row = ""
    for panel in dashboard.document["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            rows[row] = [inner["title"] for inner in panel["panels"]]
        else:
            rows[row].append(panel["title"])
    told = told_rows()
    assert {row: told.get(row) for row in rows} == rows


def test_panels_that_may_be_empty_are_panels() -> None:
    titles = {panel["title"] for dashboard in ALL for panel in dashboard.panels}
    named = {name for name in re.findall(r"\*([^*]+)\*[;.,]", PAGE) if name not in {"New", "Import", "Dashboards"}}
    assert named <= titles


def test_every_variable_of_the_sources_is_explained() -> None:
    sources = (FOLDER / "provisioning" / "datasources.yml").read_text(encoding="utf-8")
    for variable in set(re.findall(r"\$(STRAVA_GRAFANA_\w+)", sources)):
        assert f"`{variable}`" in PAGE
        assert re.search(rf"#\s+{variable} ", sources)
