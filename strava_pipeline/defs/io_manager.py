"""The IO manager of our outputs: values are in the tables, so it stores nothing and reads rows as frames."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from strava_pipeline.defs.resources import WarehouseResource

if TYPE_CHECKING:
    import pandas as pd


class StravaIOManager(dg.ConfigurableIOManager):
    """Gives an asset that takes one of ours as its input the rows of its partitions, as a pandas frame.

    The frame holds the rows of the table that Dagster's UI names for the asset (``dagster/table_name``), of
    ``activity_points_parquet`` the samples of view ``activity_points``. Of an athlete's month these are the rows of the
    activities that started in it (UTC), oldest first; of a range, or of all partitions, the rows of each of them.
    Without rows the frame is empty, with the same columns and dtypes: see :mod:`strava_pipeline.frames`.

    The input's metadata may name ``columns``, and another ``table`` that the asset writes::

        dg.AssetIn(["strava", "activity_details"], metadata={"table": "splits", "columns": ["activity_id", "distance"]})

    A value that one of our ops hands over is kept for the other steps of the same process; our jobs use only one.
    """

    warehouse: dg.ResourceDependency[WarehouseResource]
    _handed_over: dict[tuple[str, ...], Any] = PrivateAttr(default_factory=dict)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Keep what an op hands over; an asset of ours hands over nothing."""
        if not context.has_asset_key:
            self._handed_over[tuple(context.get_identifier())] = obj
        elif obj is not None:
            raise dg.DagsterInvariantViolationError(
                f"the value of asset {context.asset_key.to_user_string()} would be lost, since the IO manager of"
                " strava-pipeline stores nothing: give the asset another io_manager_key"
            )

    def load_input(self, context: dg.InputContext) -> Any:
        """Return the rows of the asset's partitions, or what an op of the same process handed over."""
        return self._rows(context) if context.has_asset_key else self._taken(context)

    def _rows(self, context: dg.InputContext) -> "pd.DataFrame":
        from strava_pipeline.frames.partitions import rows_of  # noqa: PLC0415  pandas, which no step of ours needs

        key, metadata = context.asset_key.to_user_string(), context.definition_metadata
        asset = self.warehouse.names.asset_of(key)
        if asset is None:
            raise dg.DagsterInvariantViolationError(
                f"asset {key} is none of strava-pipeline, whose IO manager reads no"
                " other: give it another io_manager_key"
            )
        # An asset that is loaded outside a run, as a whole, has no partitions.
        partitions = context.asset_partition_keys if context.has_asset_partitions else None
        return rows_of(asset, metadata.get("table")).read(self.warehouse.engine, partitions, metadata.get("columns"))

    def _taken(self, context: dg.InputContext) -> Any:
        identifier = tuple(context.get_identifier())
        if identifier not in self._handed_over:
            raise dg.DagsterInvariantViolationError(
                f"nothing is stored of what {'.'.join(identifier[1:])} handed over in another process or run: execute"
                " all steps of the job in one process, from the first one on"
            )
        return self._handed_over[identifier]
