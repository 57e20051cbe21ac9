"""A code location that loads fast: one job, and names of partitions that a stranger may want to change."""

import dagster as dg

names = dg.DynamicPartitionsDefinition(name="names")


@dg.asset(partitions_def=names)
def thing() -> None:
    """An asset of these partitions."""


@dg.op
def say(context: dg.OpExecutionContext) -> None:
    """Log one line."""
    context.log.info("said by the small job")


@dg.job(executor_def=dg.in_process_executor)
def strava_small_job() -> None:
    """Runs one op, in process."""
    say()


defs = dg.Definitions(assets=[thing], jobs=[strava_small_job])
