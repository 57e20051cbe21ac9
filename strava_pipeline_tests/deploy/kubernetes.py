"""The shipped manifests and Helm values, and a stand-in for the API of Kubernetes.

No chart and no cluster are at hand. What Dagster's chart makes of the values is written down here, from its templates:
the instance's ``dagster.yaml``, and what a user deployment hands on to runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import yaml
from flask import Flask, Response, jsonify, request

from strava_pipeline_tests.served_apps import served

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
NAMESPACE = "strava"
IMAGE = "strava-pipeline:0.1.0"
# The oldest and the newest Kubernetes that manifests are checked against; docs/kubernetes.md names them.
VERSIONS = ("1.30", "1.37")


def manifests() -> dict[str, dict[str, Any]]:
    """Every object of the folder's files, by file, kind and name."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name in {"dagster-values.yaml", "kustomization.yaml"}:
            continue
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            name = manifest["metadata"].get("name") or manifest["metadata"]["generateName"]
            found[f"{path.name}: {manifest['kind']} {name}"] = manifest
    return found


def values() -> dict[str, Any]:
    """The values for Dagster's chart."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "dagster-values.yaml").read_text(encoding="utf-8"))
    return found


def user_deployment() -> dict[str, Any]:
    """Our code location among the values."""
    (found,) = values()["dagster-user-deployments"]["deployments"]
    deployment: dict[str, Any] = found
    return deployment


def instance_file(**launcher_config: Any) -> str:
    """The ``dagster.yaml`` that the chart writes: its own blocks, and behind them those of the values.

    Some blocks are there twice, as in the chart's. ``launcher_config`` replaces what the chart gives the launcher.
    """
    given = values()
    launcher = given["runLauncher"]["config"]["k8sRunLauncher"]
    raw = launcher["runK8sConfig"]
    of_chart = {
        "scheduler": {"module": "dagster.core.scheduler", "class": "DagsterDaemonScheduler"},
        **{
            f"{kind}_storage": {
                "module": f"dagster_postgres.{module}",
                "class": f"Postgres{name}Storage",
                "config": {"postgres_db": _database(given["postgresql"])},
            }
            for kind, module, name in (
                ("schedule", "schedule_storage", "Schedule"),
                ("run", "run_storage", "Run"),
                ("event_log", "event_log", "EventLog"),
            )
        },
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {
                "load_incluster_config": launcher["loadInclusterConfig"],
                "job_namespace": NAMESPACE,
                "image_pull_policy": launcher["imagePullPolicy"],
                "service_account_name": given["global"]["fullnameOverride"],
                "dagster_home": given["global"]["dagsterHome"],
                "instance_config_map": f"{given['global']['fullnameOverride']}-instance",
                "postgres_password_secret": given["global"]["postgresqlSecretName"],
                "security_context": launcher["securityContext"],
                "run_k8s_config": {"pod_spec_config": raw["podSpecConfig"]},
            }
            | launcher_config,
        },
        "compute_logs": {"module": "dagster.core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
        "telemetry": given["telemetry"],
    }
    return yaml.safe_dump(of_chart) + yaml.safe_dump(given["additionalInstanceConfig"])


def container_context() -> dict[str, Any]:
    """What the chart has the code location hand on to its runs."""
    deployment = user_deployment()
    full = values()["global"]["fullnameOverride"]
    return {
        "k8s": {
            "image_pull_policy": deployment["image"]["pullPolicy"],
            "env_config_maps": [
                f"{full}-{deployment['name']}-user-env",
                *(source["name"] for source in deployment["envConfigMaps"]),
            ],
            "env_secrets": [source["name"] for source in deployment["envSecrets"]],
            "volume_mounts": deployment["volumeMounts"],
            "volumes": deployment["volumes"],
            "resources": deployment["resources"],
            "namespace": NAMESPACE,
            "service_account_name": f"{full}-user-deployments",
            "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
        }
    }


def _database(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "username": given["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": given["postgresqlHost"],
        "db_name": given["postgresqlDatabase"],
        "port": given["service"]["port"],
        "params": {},
    }


@dataclass
class ClusterStandIn:
    """Takes jobs as the API of Kubernetes does, and tells their state; ``kubeconfig`` is the way to it."""

    kubeconfig: Path
    jobs: list[dict[str, Any]] = field(default_factory=list)
    # By the job's name.
    status: dict[str, dict[str, Any]] = field(default_factory=dict)

    def app(self) -> Flask:
        """The API, as far as Dagster asks it."""
        app = Flask(__name__)
        jobs = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"

        @app.post(jobs)
        def create() -> tuple[Response, int]:
            self.jobs.append(request.get_json())
            return jsonify(self.jobs[-1]), 201

        @app.get(f"{jobs}/<name>/status")
        def tell(name: str) -> Response:
            found = {job["metadata"]["name"]: job for job in self.jobs}[name]
            return jsonify(found | {"status": self.status.get(name, {"active": 1})})

        @app.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
        def pods() -> Response:
            return jsonify({"kind": "PodList", "apiVersion": "v1", "items": []})

        @app.get(f"/api/v1/namespaces/{NAMESPACE}/events")
        def events() -> Response:
            return jsonify({"kind": "EventList", "apiVersion": "v1", "items": []})

        return app


@contextmanager
def cluster(folder: Path) -> Iterator[ClusterStandIn]:
    """Serve a cluster's API; its kubeconfig is in the folder."""
    found = ClusterStandIn(folder / "kubeconfig")
    with served(found.app()) as port:
        found.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "made-up",
                    "clusters": [{"name": "made-up", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "made-up", "user": {"token": "made-up"}}],
                    "contexts": [{"name": "made-up", "context": {"cluster": "made-up", "user": "made-up"}}],
                }
            ),
            encoding="utf-8",
        )
        yield found


@contextmanager
def instance_in(folder: Path, storage_url: str, found: ClusterStandIn) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance as the chart configures it, but for the way to the cluster."""
    written = instance_file(load_incluster_config=False, kubeconfig_file=str(found.kubeconfig))
    (folder / "dagster.yaml").write_text(written, encoding="utf-8")
    with (
        patch.dict(os.environ, {"DAGSTER_POSTGRES_URL": storage_url, "NO_PROXY": "127.0.0.1"}),
        dg.DagsterInstance.from_config(str(folder)) as instance,
    ):
        yield instance
