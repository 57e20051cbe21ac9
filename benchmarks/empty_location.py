"""A code location with one job that does nothing, which shows what a run costs by itself."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor, tags={"dagster/priority": "10"})
def strava_empty_job() -> None:
    """Run one op that does nothing, in the run's process, as the product's job does."""
    nothing()


defs = dg.Definitions(jobs=[strava_empty_job])
