"""The Helm values make an instance, and jobs of runs, as they should be: a stand-in for a cluster takes the jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import kubernetes_validate
import psycopg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.executor_definition import in_process_executor
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import PlanData, PlanOrchestrationContext
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster._core.launcher import LaunchRunContext
from dagster._core.log_manager import DagsterLogManager
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.tags import DOCKER_IMAGE_TAG, WILL_RETRY_TAG
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster._grpc.types import ExecuteStepArgs
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from sqlalchemy import make_url

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.defs.dagster_storage import QuietEventLogStorage, TidyRunStorage
from strava_pipeline.names import KUBERNETES_TAG, Asset, Job
from strava_pipeline_tests.defs.own_definitions import NAMES, defs, key_of
from strava_pipeline_tests.deploy.kubernetes import (
    IMAGE,
    ROOT,
    VERSIONS,
    ClusterStandIn,
    cluster,
    container_context,
    instance_in,
    user_deployment,
    values,
)
from webhook_bridge.dispatcher import sync_config

log = logging.getLogger(__name__)
pytestmark = pytest.mark.usefixtures("settings")
POINTER = ModuleCodePointer("strava_pipeline.definitions", "own_process_defs")
AS_GUEST = ModuleCodePointer("strava_pipeline.definitions", "defs")
ORIGIN = RepositoryPythonOrigin(
    executable_path="/usr/bin/python3",
    code_pointer=POINTER,
    container_image=IMAGE,
    entry_point=["dagster"],
    container_context=container_context(),
)


@pytest.fixture
def found(tmp_path: Path) -> Iterator[ClusterStandIn]:
    with cluster(tmp_path) as served:
        yield served


@pytest.fixture
def instance(tmp_path: Path, found: ClusterStandIn, dagster_database: str) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path, dagster_database, found) as made:
        yield made


def job_of(name: str) -> dg.JobDefinition:
    return defs().resolve_job_def(NAMES.job(name))


def launched(instance: dg.DagsterInstance, name: str) -> dg.DagsterRun:
    """A run of one of our jobs, by its plain name, that the launcher has taken."""
    job = job_of(name)
    run = instance.create_run_for_job(
        job,
        run_config=sync_config(NAMES, [1]) if name == Job.WEBHOOK_SYNC else {},
        tags=dict(job.run_tags),
        job_code_origin=JobPythonOrigin(job.name, ORIGIN),
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    seen = instance.get_run_by_id(run.run_id)
    assert seen is not None
    return seen


def test_dagster_takes_the_instance_with_our_storages(instance: dg.DagsterInstance, dagster_database: str) -> None:
    assert isinstance(instance.run_launcher, K8sRunLauncher)
    assert isinstance(instance.event_log_storage, QuietEventLogStorage)
    assert isinstance(instance.run_storage, TidyRunStorage)
    address = make_url(dagster_database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as listener:
        listener.execute("LISTEN run_events")
        run = instance.create_run_for_job(job_of(Job.UPKEEP))
        instance.report_run_failed(run)
        listener.execute("SELECT 1")
        assert list(listener.notifies(timeout=0)) == []
    with dg.DagsterInstance.from_ref(instance.get_ref()) as theirs:
        assert isinstance(theirs.event_log_storage, QuietEventLogStorage)


def test_its_blocks_are_those_of_our_own_file() -> None:
    """But for the storage's form, what the chart's values say elsewhere, and the watch over pods."""
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    theirs = dict(values()["additionalInstanceConfig"])
    for block in ("event_log_storage", "run_storage", "schedule_storage"):
        assert theirs.pop(block)["config"] == ours["storage"]["custom"]["config"]
    monitoring = theirs.pop("run_monitoring")
    assert ours["run_monitoring"].items() <= monitoring.items()
    assert monitoring["max_resume_run_attempts"] == 0
    elsewhere = {"storage", "run_monitoring", "compute_logs", "telemetry"}
    assert theirs == {block: what for block, what in ours.items() if block not in elsewhere}
    assert (values()["computeLogManager"]["type"], values()["telemetry"]["enabled"]) == ("NoOpComputeLogManager", False)


def test_the_code_location_serves_our_definitions() -> None:
    assert user_deployment()["dagsterApiGrpcArgs"] == [
        "--module-name", POINTER.module, "--attribute", POINTER.fn_name,
    ]  # fmt: skip


def test_a_run_is_a_job_that_kubernetes_takes(instance: dg.DagsterInstance, found: ClusterStandIn) -> None:
    launched(instance, Job.WEBHOOK_SYNC)
    (job,) = found.jobs
    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)


def test_a_run_has_image_command_settings_secrets_and_labels(
    instance: dg.DagsterInstance, found: ClusterStandIn
) -> None:
    run = launched(instance, Job.WEBHOOK_SYNC)
    (job,) = found.jobs
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["metadata"]["name"] == f"dagster-run-{run.run_id}"
    assert container["image"] == IMAGE == run.tags[DOCKER_IMAGE_TAG]
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert run.run_id in container["args"][3]
    # Where the storage is, and how to enter it, stands in a secret.
    assert "postgresql://" not in str(job)
    assert "postgresql+psycopg2://" not in str(job)
    sources = {source["name"] for each in container["envFrom"] for source in each.values()}
    assert sources == {
        "dagster-strava-pipeline-user-env", "strava-pipeline", "strava-pipeline-dagster",
    }  # fmt: skip
    variables = {each["name"]: each for each in container["env"]}
    assert variables["DAGSTER_HOME"]["value"] == "/opt/dagster/dagster_home"
    assert variables["DAGSTER_PG_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "strava-pipeline-chart"
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "run_worker"
    assert (labels["dagster/job"], labels["dagster/run-id"]) == (NAMES.job(Job.WEBHOOK_SYNC), run.run_id)


def test_a_runs_pod_can_do_no_more_than_it_needs(instance: dg.DagsterInstance, found: ClusterStandIn) -> None:
    launched(instance, Job.WEBHOOK_SYNC)
    (job,) = found.jobs
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == user_deployment()["podSecurityContext"]
    assert container["securityContext"] == user_deployment()["securityContext"]
    assert pod["serviceAccountName"] == "dagster-user-deployments"
    assert pod["enableServiceLinks"] is False
    assert (pod["restartPolicy"], job["spec"]["backoffLimit"]) == ("Never", 0)
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {volume["name"] for volume in pod["volumes"]} >= set(mounts.values()) >= {"home", "dagster-home", "tmp"}
    # Without it the image's entrypoint starts no program of Dagster's.
    assert mounts["/opt/dagster/dagster_home/dagster.yaml"] == "dagster-instance"


@pytest.mark.parametrize(("name", "memory"), [(Job.WEBHOOK_SYNC, None), (Job.UPKEEP, None), (Job.UPDATE_LAKE, "640Mi")])
def test_a_run_has_the_memory_that_its_job_needs(
    instance: dg.DagsterInstance, found: ClusterStandIn, name: str, memory: str | None
) -> None:
    launched(instance, name)
    (job,) = found.jobs
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    usual = user_deployment()["resources"]
    assert resources["requests"]["cpu"] == usual["requests"]["cpu"]
    for kind in ("requests", "limits"):
        assert resources[kind]["memory"] == (memory or usual[kind]["memory"])


def test_a_step_under_kubernetes_executor_has_the_memory_that_its_asset_needs(
    instance: dg.DagsterInstance, found: ClusterStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a host's code location: in a deployment of our own one process executes each run."""
    monkeypatch.setenv("STRAVA_LARGE_RUN_MEMORY_MIB", "700")
    memory = {asset: step_memory(instance, found, asset) for asset in (Asset.ACTIVITIES, Asset.LAKE)}
    usual = user_deployment()["resources"]["limits"]["memory"]
    assert memory == {Asset.ACTIVITIES: usual, Asset.LAKE: "700Mi"}


def step_memory(instance: dg.DagsterInstance, found: ClusterStandIn, asset: str) -> str:
    """The limit of the job that a step of an asset is, whose manifest Kubernetes takes."""
    repository = ReconstructableRepository(AS_GUEST, IMAGE, container_context=container_context())
    job = ReconstructableJob(repository, "__ASSET_JOB", asset_selection=frozenset({key_of(asset)}))
    plan = create_execution_plan(job)
    step = f"{NAMES.prefix}__{asset}"
    run = instance.create_run_for_job(
        job.get_definition(), execution_plan=plan, job_code_origin=JobPythonOrigin("__ASSET_JOB", ORIGIN)
    )
    handler = K8sStepHandler(
        None, K8sContainerContext(), load_incluster_config=False, kubeconfig_file=str(found.kubeconfig)
    )
    executor = in_process_executor.executor_creation_fn
    assert executor is not None
    context = PlanOrchestrationContext(
        PlanData(job, run, instance, plan, raise_on_error=True, retry_mode=RetryMode.DISABLED),
        DagsterLogManager.create(loggers=[], dagster_run=run),
        executor(InitExecutorContext(job, in_process_executor, {"retries": {"enabled": {}}}, instance)),
        output_capture=None,
    )
    arguments = ExecuteStepArgs(
        JobPythonOrigin("__ASSET_JOB", ORIGIN), run.run_id, [step], instance_ref=None, print_serialized_events=False
    )
    planned = plan.get_step_by_key(step)
    assert isinstance(planned, ExecutionStep)
    list(handler.launch_step(StepHandlerContext(instance, context, [planned], arguments)))
    made = found.jobs[-1]
    kubernetes_validate.validate(made, VERSIONS[-1], strict=True)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"][:3] == ["dagster", "api", "execute_step"]
    limit: str = container["resources"]["limits"]["memory"]
    return limit


@pytest.mark.parametrize(("name", "again"), [(Job.WEBHOOK_SYNC, "true"), (Job.UPKEEP, "false")])
def test_a_run_whose_pod_was_killed_fails_and_is_executed_again_by_whoever_looks_after_it(
    instance: dg.DagsterInstance, found: ClusterStandIn, name: str, again: str
) -> None:
    """Dagster executes webhooks' runs again; imports and upkeep are launched anew by the bridge and schedules."""
    run = launched(instance, name)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    monitor_started_run(instance, None, record, log)  # type: ignore[arg-type]  # it launches nothing
    alive = instance.get_run_by_id(run.run_id)
    assert alive is not None
    assert alive.status is dg.DagsterRunStatus.STARTED

    found.status[f"dagster-run-{run.run_id}"] = {"failed": 1}
    monitor_started_run(instance, None, record, log)  # type: ignore[arg-type]  # it launches nothing

    killed = instance.get_run_by_id(run.run_id)
    assert killed is not None
    assert killed.status is dg.DagsterRunStatus.FAILURE
    assert killed.tags[WILL_RETRY_TAG] == again
    # No second pod is started for the same run.
    assert len(found.jobs) == 1


def test_a_setting_changes_the_memory_or_leaves_it_to_the_cluster() -> None:
    def tag(**given: str) -> str | None:
        made = build_strava_defs(settings=given)
        return made.resolve_job_def(NAMES.job(Job.UPDATE_LAKE)).run_tags.get(KUBERNETES_TAG)

    assert tag(large_run_memory_mib="0") is None
    assert '"2048Mi"' in str(tag(large_run_memory_mib="2048"))
    # The cluster of a host has limits of its own.
    assert tag() is None
