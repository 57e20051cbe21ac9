"""Decorators that make assets and jobs of ours from a plan: what all of them have in common stands here."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from strava_pipeline.defs.plan import IO_MANAGER, Plan
from strava_pipeline.defs.run_memory import run_memory_tags, step_memory_tags

MakeAsset = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def our_job(
    plan: Plan, job: str, *run_tags: Mapping[str, str], description: str | None = None
) -> Callable[[Callable[..., Any]], dg.JobDefinition]:
    """Decorate as ``dg.job``: one of our jobs, by its plain name. One process executes each of its runs."""
    of_runs = plan.run_tags(job, run_memory_tags(plan, job), *run_tags)
    return dg.job(
        name=plan.names.job(job),
        executor_def=dg.in_process_executor,
        # A run that is launched by GraphQL gets the tags of the job, and none of its runs' (Dagster 1.13).
        tags=of_runs | plan.job_tags(job),
        run_tags=of_runs,
        description=description,
    )


def month_asset(plan: Plan, asset: str, group: str, *, built_on: str | None = None, **options: Any) -> MakeAsset:
    """Decorate as ``dg.asset``: one of our assets by athlete and month, by its plain name.

    ``built_on``: the plain name of the asset that goes before it, where that is kept. All of these count in the pool of
    imports, also those that send no request: backfills of any asset leave room for a webhook.
    """
    return backfilled_asset(
        plan, asset, group, plan.policy, built_on, partitions_def=plan.grid(), pool=plan.pools().imports, **options
    )


def backfilled_asset(
    plan: Plan, asset: str, group: str, policy: dg.BackfillPolicy, built_on: str | None, **options: Any
) -> MakeAsset:
    """Decorate as ``dg.asset`` with a backfill policy, without Dagster's warning.

    Dagster 1.13 counts such policies as beta and warns at every start; an operator can do nothing about the warning.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        decorate: MakeAsset = dg.asset(
            key=plan.key(asset),
            group_name=plan.group(group),
            owners=plan.owners,
            tags=plan.asset_tags(asset),
            op_tags=step_memory_tags(plan, asset),
            deps=plan.deps(*([] if built_on is None else [built_on])),
            backfill_policy=policy,
            io_manager_key=IO_MANAGER,
            **options,
        )
    return decorate
