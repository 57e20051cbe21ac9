"""The shipped Grafana dashboards are well formed: sizes, units, words, sources; and kept in one format."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from strava_pipeline_tests.deploy.grafana import ALL, FOLDER, Dashboard

COLUMNS = 24
# What shows no figure, or only some that carry their unit in words.
WITHOUT_UNIT = {"text", "geomap"}


def each(dashboard: Dashboard) -> str:
    return dashboard.path.stem


pytestmark = pytest.mark.parametrize("dashboard", ALL, ids=each)


def test_a_file_has_the_one_format(dashboard: Dashboard) -> None:
    assert dashboard.text == json.dumps(dashboard.document, indent=2, ensure_ascii=False) + "\n"


def test_a_dashboard_can_be_provisioned(dashboard: Dashboard) -> None:
    document = dashboard.document
    assert document["id"] is None
    assert re.fullmatch(r"[a-z-]{8,40}", document["uid"])
    assert document["title"].startswith("Strava: ")
    assert document["description"]
    assert document["schemaVersion"] == 39  # of Grafana 11; later ones read it


def test_panels_have_ids_of_their_own(dashboard: Dashboard) -> None:
    ids = [panel["id"] for panel in (*dashboard.document["panels"], *dashboard.panels)]
    assert len({panel["id"] for panel in dashboard.panels}) == len(list(dashboard.panels))
    assert set(ids) == set(range(1, len(set(ids)) + 1))


def test_a_panel_says_what_it_shows_and_in_which_unit(dashboard: Dashboard) -> None:
    for panel in dashboard.panels:
        assert panel["description"].endswith("."), panel["title"]
        units = [panel["fieldConfig"]["defaults"].get("unit")]
        units += [
            setting["value"]
            for override in panel["fieldConfig"]["overrides"]
            for setting in override["properties"]
            if setting["id"] == "unit"
        ]
        assert any(units) or panel["type"] in WITHOUT_UNIT, panel["title"]


def test_panels_fill_the_grid_and_do_not_overlap(dashboard: Dashboard) -> None:
    rows = [dashboard.document["panels"]]
    rows += [panel["panels"] for panel in dashboard.document["panels"] if panel["type"] == "row"]
    for row in rows:
        for one in row:
            assert 0 <= one["gridPos"]["x"] <= one["gridPos"]["x"] + one["gridPos"]["w"] <= COLUMNS, one["title"]
        for one, other in itertools.combinations(row, 2):
            assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def test_titles_are_unique(dashboard: Dashboard) -> None:
    titles = [panel["title"] for panel in dashboard.panels]
    assert len(set(titles)) == len(titles)


def test_sources_are_chosen_by_a_variable_of_the_dashboard(dashboard: Dashboard) -> None:
    offered = {
        (variable["query"], f"${{{name}}}")
        for name, variable in dashboard.variables.items()
        if variable["type"] == "datasource"
    }
    for panel in dashboard.panels:
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert (source["type"], source["uid"]) in offered, panel["title"]


def test_there_is_a_provisioned_source_for_it(dashboard: Dashboard) -> None:
    sources = yaml.safe_load((FOLDER / "provisioning" / "datasources.yml").read_text(encoding="utf-8"))["datasources"]
    wanted = {variable["query"] for variable in dashboard.variables.values() if variable["type"] == "datasource"}
    assert wanted <= {source["type"] for source in sources}
    for source in sources:
        secrets = source.get("secureJsonData", {})
        assert all(value.startswith("$") for value in secrets.values()), "a secret stands in a variable, never here"


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart
