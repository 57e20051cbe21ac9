"""Writes the YAML of a new component: ``dg scaffold defs strava_pipeline.StravaComponent FOLDER``."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import dagster as dg
from dagster.components import scaffold_component
from pydantic import BaseModel, Field

# Plain names of our assets; a test compares them with names.ALL_ASSETS.
AssetName = Literal[
    "athletes",
    "gear",
    "activities",
    "activity_details",
    "activity_streams",
    "route_analyses",
    "activity_points_parquet",
    "training_load",
    "archive_files",
]


class StravaScaffoldParams(BaseModel):
    """What may be said when a component is scaffolded; the attributes' descriptions say what each is for."""

    key_prefix: str | None = Field(default=None, description="what comes before each asset's name")
    group_name: str | None = Field(default=None, description="group of all assets")
    assets: Sequence[AssetName] | None = Field(default=None, description="assets to keep")
    history_start: date | None = Field(default=None, description="no month before this day's has partitions")
    schedules: Literal["running", "stopped"] | None = Field(default=None, description="whether schedules run at once")
    pool: str | None = Field(default=None, description="a pool of yours for our runs")
    delete_runs: bool | None = Field(default=None, description="whether old runs of ours are deleted")


class StravaComponentScaffolder(dg.Scaffolder[StravaScaffoldParams]):
    """Writes ``defs.yaml`` with the given parameters as attributes."""

    @classmethod
    def get_scaffold_params(cls) -> type[StravaScaffoldParams]:
        """Return the model of the parameters, which are options of the command."""
        return StravaScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[StravaScaffoldParams]) -> None:
        """Write the component; a parameter that was not given is left to its default."""
        given = request.params.model_dump(mode="json", exclude_none=True)
        # An option that may be repeated, and was not given, is an empty list.
        scaffold_component(request, {name: value for name, value in given.items() if value != []})
