"""What was handed in for athletes, partitioned by athlete: archives of Strava's, and files of devices."""

import dagster as dg

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.decorators import backfilled_asset
from strava_pipeline.defs.handed_in import handed_in_metadata
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import patience_of, table_metadata, translate_faults
from strava_pipeline.names import Asset
from strava_pipeline.warehouse.archives.imports import list_imports
from strava_pipeline.warehouse.engine import autocommit


def archive_files(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of what was handed in."""

    @backfilled_asset(
        plan,
        Asset.ARCHIVE_FILES,
        "activities",
        # One run for all athletes: it reads a few rows of each.
        dg.BackfillPolicy.single_run(),
        None,
        partitions_def=plan.athletes(),
        kinds={"postgres"},
        metadata=table_metadata("recordings"),
    )
    def show_handed_in(
        context: dg.AssetExecutionContext, strava_warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        """What was handed in for each athlete, with a quality report; the job of archive imports brings it up to date.

        To materialize it reads the tables again, and no file.
        """
        engine = strava_warehouse.engine
        with translate_faults(attempts_of(context), patience_of(context, strava_warehouse)) as subject:
            for key in context.partition_keys:
                subject.at_athlete(int(key))
                with autocommit(engine) as connection:
                    found = list_imports(connection, int(key))
                context.add_asset_metadata(handed_in_metadata(found), partition_key=key)
        return dg.MaterializeResult()

    return show_handed_in
