"""One run of Dagster over an athlete's whole history, in a process of its own, which tells its peak memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime

import dagster as dg

from benchmarks.many_activities import ATHLETE, YEARS
from strava_pipeline.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.cli.instance import open_instance
from strava_pipeline.partitions import register_athlete
from strava_pipeline.resources import StravaResource, WarehouseResource
from strava_pipeline.settings import load_settings


def main() -> None:
    """Materialize, and print the figures as JSON on the last line."""
    now = datetime.now(UTC)
    warehouse = WarehouseResource()
    with open_instance(load_settings()) as instance:
        register_athlete(instance, ATHLETE)
        began = time.perf_counter()
        result = dg.materialize(
            [activities, activity_details, activity_streams],
            instance=instance,
            resources={
                "warehouse": warehouse,
                "strava": StravaResource(warehouse=warehouse),
                "io_manager": dg.mem_io_manager,
            },
            tags={
                "dagster/asset_partition_range_start": f"{ATHLETE}|{now.year - YEARS:04d}-{now:%m}-01",
                "dagster/asset_partition_range_end": f"{ATHLETE}|{now:%Y-%m}-01",
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"success": result.success, "seconds": seconds, "peak_mib": peak_mib}))
    sys.exit(not result.success)


if __name__ == "__main__":
    main()
