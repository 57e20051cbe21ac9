"""The manifests in deploy/kubernetes are valid, fit together, and let pods do no more than they need."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_sources import is_secret
from strava_pipeline_tests.deploy.kubernetes import (
    FOLDER,
    IMAGE,
    NAMESPACE,
    ROOT,
    VERSIONS,
    manifests,
    user_deployment,
    values,
)
from webhook_bridge.upload_tickets import PART_BYTES, PARTS_PATH

MANIFESTS = manifests()
WORKLOADS = {name: manifest for name, manifest in MANIFESTS.items() if manifest["kind"] in {"Deployment", "Job"}}
OURS = {variable_name(name): field for name, field in Settings.model_fields.items()}
# Of others: Matplotlib's.
FOREIGN = {"MPLCONFIGDIR"}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"]["template"]["spec"]
    return found


def services() -> set[str]:
    """Names of all services in the namespace: ours, and the chart's."""
    ours = {manifest["metadata"]["name"] for manifest in MANIFESTS.values() if manifest["kind"] == "Service"}
    return ours | {user_deployment()["name"], "dagster-dagster-webserver"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name, manifest in MANIFESTS.items() if manifest["kind"] != "ServiceMonitor"])
def test_each_is_what_kubernetes_takes(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_each_is_labelled_and_in_the_namespace(name: str) -> None:
    about = MANIFESTS[name]["metadata"]
    assert about.get("namespace", about.get("name")) == NAMESPACE
    assert about["labels"]["app.kubernetes.io/part-of"] == "strava-pipeline"


def is_restricted(pod: dict[str, Any], container: dict[str, Any]) -> bool:
    """Whether the standard "restricted" for pods takes it, and it writes into its volumes only."""
    whole, own = pod["securityContext"], container["securityContext"]
    return (
        whole["runAsNonRoot"] is True
        and whole["runAsUser"] > 0
        and whole["seccompProfile"] == {"type": "RuntimeDefault"}
        and own["allowPrivilegeEscalation"] is False
        and own["readOnlyRootFilesystem"] is True
        and own["capabilities"] == {"drop": ["ALL"]}
        and not any("hostPath" in volume for volume in pod.get("volumes", ()))
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_pod_can_do_more_than_it_needs(name: str) -> None:
    pod = pod_of(WORKLOADS[name])
    (container,) = pod["containers"]
    assert is_restricted(pod, container)
    assert container["image"] == IMAGE
    assert {"requests", "limits"} <= container["resources"].keys()
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_standard_for_pods_is_enforced() -> None:
    labels = MANIFESTS["namespace.yaml: Namespace strava"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_services_set_no_variable_of_ours() -> None:
    """Kubernetes tells each pod all services of its namespace by variables: BRIDGE_PORT, BRIDGE_SERVICE_HOST ..."""
    prefixes = tuple(f"{name.upper().replace('-', '_')}_" for name in services())
    assert [name for name in OURS if name.startswith(prefixes)] == []


def test_the_settings_are_ours_and_none_is_a_secret() -> None:
    given = MANIFESTS["configmap.yaml: ConfigMap strava-pipeline"]["data"]
    assert given.keys() - OURS.keys() == FOREIGN
    assert [name for name in given.keys() & OURS.keys() if is_secret(OURS[name])] == []
    assert all(isinstance(value, str) for value in given.values())


def test_the_settings_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    given = MANIFESTS["configmap.yaml: ConfigMap strava-pipeline"]["data"]
    for name, value in given.items():
        monkeypatch.setenv(name, str(tmp_path) if name == "STRAVA_HOME" else value)
    read = Settings()
    assert read.runs_at_once == values()["additionalInstanceConfig"]["concurrency"]["runs"]["max_concurrent_runs"]
    assert read.trusted_proxies == 1
    assert urlsplit(read.dagster_webserver_url).hostname in {f"{name}.{NAMESPACE}.svc" for name in services()}


def test_secrets_are_named_and_have_no_value() -> None:
    found = [manifest for manifest in MANIFESTS.values() if manifest["kind"] == "Secret"]
    assert {value for manifest in found for value in manifest["stringData"].values()} == {""}
    names = {name for manifest in found for name in manifest["stringData"]} - {"postgresql-password"}
    assert [name for name in names if not is_secret(OURS[name])] == []
    # Whatever is asked for is there.
    asked = {
        source["secretRef"]["name"]
        for workload in WORKLOADS.values()
        for container in pod_of(workload)["containers"]
        for source in container["envFrom"]
        if "secretRef" in source
    }
    asked |= {source["name"] for source in user_deployment()["envSecrets"] + values()["dagsterDaemon"]["envSecrets"]}
    asked.add(values()["global"]["postgresqlSecretName"])
    assert asked == {manifest["metadata"]["name"] for manifest in found}


def test_only_the_migration_works_as_the_owner() -> None:
    with_owner = [
        name for name, workload in MANIFESTS.items() if "strava-pipeline-owner" in str(workload.get("spec", ""))
    ]
    assert with_owner == ["migrate.yaml: Job strava-migrate-"]
    assert "strava-pipeline-owner" not in str(values())


def test_each_selector_finds_its_pods() -> None:
    pods = [(workload["spec"]["template"]["metadata"]["labels"]) for workload in WORKLOADS.values()]
    for name, manifest in MANIFESTS.items():
        if manifest["kind"] in {"Service", "PodDisruptionBudget"}:
            selector = manifest["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert [labels for labels in pods if wanted.items() <= labels.items()], name


def test_one_bridge_stays_while_another_is_replaced() -> None:
    bridge = MANIFESTS["bridge.yaml: Deployment strava-bridge"]["spec"]
    assert bridge["replicas"] == 2
    assert bridge["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = MANIFESTS["bridge.yaml: PodDisruptionBudget strava-bridge"]["spec"]
    assert budget["minAvailable"] == 1


def test_the_proxy_forwards_what_the_readme_names_and_nothing_else() -> None:
    ingress = MANIFESTS["ingress.yaml: Ingress strava-bridge"]["spec"]
    (rule,) = ingress["rules"]
    forwarded = {path["path"] for path in rule["http"]["paths"]}
    assert forwarded == {"/webhooks/strava/", "/mail/", "/connect", "/oauth/", "/archive/", "/static/"}
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name != "kubernetes.md"]
    told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *pages))
    assert [path for path in forwarded if f"`{path}`" not in told] == []


def test_parts_of_uploads_are_passed_on_as_they_come() -> None:
    ingress = MANIFESTS["ingress.yaml: Ingress strava-bridge-uploads"]
    (rule,) = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == [f"{PARTS_PATH}/"]
    settings = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert settings == {"proxy-body-size": "4m", "proxy-request-buffering": "off"}
    assert PART_BYTES == 4 * 2**20


def test_metrics_are_scraped_on_a_port_that_only_prometheus_reaches() -> None:
    monitor = MANIFESTS["service-monitor.yaml: ServiceMonitor strava-bridge"]["spec"]
    service = MANIFESTS["bridge.yaml: Service bridge"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    # The alerts name the job.
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    jobs = set(re.findall(r'job="([^"]+)"', alerts))
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}
    rules = MANIFESTS["network-policy.yaml: NetworkPolicy strava-bridge"]["spec"]["ingress"]
    reached = {rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: rule["ports"]
               for rule in rules}  # fmt: skip
    assert reached == {"ingress-nginx": [{"port": "http"}], "monitoring": [{"port": "metrics"}]}


def test_the_kustomization_names_every_file_that_is_applied_with_it() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    apart = {"dagster-values.yaml", "kustomization.yaml", "migrate.yaml", "secret.example.yaml", "service-monitor.yaml"}
    assert set(kustomization["resources"]) == {path.name for path in FOLDER.iterdir()} - apart
    (image,) = kustomization["images"]
    assert f"{image['newName']}:{image['newTag']}" == IMAGE
