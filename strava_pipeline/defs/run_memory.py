"""The memory of runs and steps that need more than others, as a tag that dagster-k8s reads and nothing else does.

In Kubernetes a pod that exceeds its memory is killed. What ours need is in docs/kubernetes.md.
"""

import json
from typing import Any

from strava_pipeline.names import KUBERNETES_TAG, Asset, Job
from strava_pipeline.settings import Settings

# Plain names of the assets and jobs that write files of the lake: such a file is made in memory.
LARGE_STEPS = frozenset({Asset.LAKE})
LARGE_RUNS = frozenset({Job.NEWEST_MONTH, Job.IMPORT_HISTORY, Job.UPDATE_LAKE})


def step_memory_tags(settings: Settings, asset: str) -> dict[str, Any]:
    """Return the tag of an asset's steps, which are pods of their own under ``k8s_job_executor``; empty for most."""
    return _tags(settings) if asset in LARGE_STEPS else {}


def run_memory_tags(settings: Settings, job: str) -> dict[str, str]:
    """Return the tag of a job's runs; empty for most."""
    return _tags(settings) if job in LARGE_RUNS else {}


def _tags(settings: Settings) -> dict[str, str]:
    if not settings.large_run_memory_mib:
        return {}
    memory = {"memory": f"{settings.large_run_memory_mib}Mi"}
    return {KUBERNETES_TAG: json.dumps({"container_config": {"resources": {"requests": memory, "limits": memory}}})}
