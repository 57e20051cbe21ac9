"""The memory of runs and steps that need more than others, as a tag that dagster-k8s reads and nothing else does.

In Kubernetes a pod that exceeds its memory is killed. What ours need is in docs/kubernetes.md.
"""

import json
from typing import Any

from strava_pipeline.defs.plan import Plan
from strava_pipeline.names import KUBERNETES_TAG, Asset, Job

# Plain names of the assets and jobs that write files of the lake: such a file is made in memory.
LARGE_STEPS = frozenset({Asset.LAKE})
LARGE_RUNS = frozenset({Job.NEWEST_MONTH, Job.IMPORT_HISTORY, Job.ARCHIVE_IMPORT, Job.UPDATE_LAKE})


# What they need in our own deployment, in MiB. A host's cluster has limits of its own, which this could lower.
USUAL_MIB = 640


def step_memory_tags(plan: Plan, asset: str) -> dict[str, Any]:
    """Return the tag of an asset's steps, which are pods of their own under ``k8s_job_executor``; empty for most."""
    return _tags(plan) if asset in LARGE_STEPS else {}


def run_memory_tags(plan: Plan, job: str) -> dict[str, str]:
    """Return the tag of a job's runs; empty for most."""
    return _tags(plan) if job in LARGE_RUNS else {}


def _tags(plan: Plan) -> dict[str, str]:
    mebibytes = plan.settings_at_load.large_run_memory_mib
    if mebibytes is None and plan.is_own:
        mebibytes = USUAL_MIB
    if not mebibytes:
        return {}
    memory = {"memory": f"{mebibytes}Mi"}
    return {KUBERNETES_TAG: json.dumps({"container_config": {"resources": {"requests": memory, "limits": memory}}})}
