"""Dagster lists this package among a code location's libraries."""

from __future__ import annotations

from importlib.metadata import version

from dagster_shared.libraries import DagsterLibraryRegistry

from strava_pipeline.defs.code_location import LIBRARY


def test_dagster_knows_the_version_of_this_package() -> None:
    assert DagsterLibraryRegistry.get()[LIBRARY] == version("strava-pipeline")
