"""``deploy/compose.yaml``: its form, who gets which secret, who can reach whom, and what it may do to its machine.

The form is checked against the schema of compose files (https://github.com/compose-spec/compose-spec, Apache License
2.0), which is in ``schemas``. No container is started here.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from strava_pipeline.local.services import BRIDGE_SECRETS, CODE_SERVER_SECRETS, DAEMON_SECRETS, WEBSERVER_SECRETS
from strava_pipeline.settings import Settings, secret_variables, variable_name
from strava_pipeline_tests.deploy.compose import (
    FILLED_IN,
    FOLDER,
    composed,
    example,
    filled_in,
    mounted_files,
    ours,
    secret_variables_of,
    services,
    variables_of_the_file,
)

SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.json"
GUIDE = (FOLDER.parent / "docs" / "compose.md").read_text(encoding="utf-8")
# What the guide gives for compose.override.yaml.
CHANGES = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)]
# Of Postgres and Grafana, whose settings are no settings of ours.
OF_OTHERS = {"postgres_password", "grafana_password", "grafana_database_password"}
# Secrets of ours for which a second database or a login proxy is needed: whoever has those adds them.
NOT_IN_COMPOSE = {"STRAVA_DATABASE_REPLICA_URL", "STRAVA_DAGSTER_HEADER"}
SERVERS = {"code-server", "webserver", "daemon", "bridge"}
ONE_SHOTS = {"logins", "migrate"}
every_service = pytest.mark.parametrize("name", services())


def test_it_is_a_compose_file() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = Draft202012Validator(schema).iter_errors(filled_in(composed(), FILLED_IN))
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in errors] == []


def test_a_key_that_compose_does_not_know_would_be_found() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    wrong = {"services": {"bridge": {"image": "bridge:1", "depend_on": ["postgres"]}}}
    assert [*Draft202012Validator(schema).iter_errors(wrong)]


@pytest.mark.parametrize("missing", FILLED_IN)
def test_what_has_to_be_filled_in_is_asked_for(missing: str) -> None:
    with pytest.raises(KeyError, match=r"\.env"):
        filled_in(services(), FILLED_IN | {missing: ""})
    assert example()[missing] == ""


def test_the_example_names_what_the_file_asks_for_and_settings() -> None:
    known = {variable_name(field) for field in Settings.model_fields}
    assert {*example()} - known <= variables_of_the_file()
    assert {*FILLED_IN, "PROXY_TLS"} <= {*example()}
    assert not {*example()} & secret_variables()


@every_service
def test_an_image_has_a_version(name: str) -> None:
    image = filled_in(services()[name]["image"], {})
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image)


def test_our_image_has_the_version_of_this_checkout() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {filled_in(service["image"], {}) for service in ours().values()} == {f"strava-pipeline:{project['version']}"}


def test_one_service_builds_our_image_and_the_others_take_it() -> None:
    """Several builds of one image at once end with "already exists", and no registry has it."""
    builds = {name: service["build"] for name, service in ours().items() if "build" in service}
    assert {*builds} == {"migrate"}
    assert (FOLDER / builds["migrate"]["context"]).resolve() == FOLDER.parent
    assert {service["pull_policy"] for name, service in ours().items() if name not in builds} == {"never"}


def test_a_build_is_told_its_version_and_what_the_dockerfile_knows() -> None:
    """With nothing in .env, and with what it may say."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = services()["migrate"]["build"]["args"]
    told = {"VERSION": project["version"], "REVISION": "unknown", "PACKAGES": ""}
    assert filled_in(given, {}) == told
    mine = {"REVISION": "4c2d", "PACKAGES": "s3fs adlfs"}
    assert filled_in(given, mine) == told | mine
    known = re.findall(r"^ARG (\w+)", (FOLDER.parent / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*given} <= {*known}


def test_links_to_dagster_lead_to_the_proxy() -> None:
    settings = filled_in(services()["bridge"]["environment"], FILLED_IN)
    assert settings["STRAVA_DAGSTER_PUBLIC_URL"] == f"https://{settings['STRAVA_DAGSTER_HOSTS']}"


def test_what_is_mounted_is_there() -> None:
    mounted = [*mounted_files()]
    assert len(mounted) >= 7
    for name, path in mounted:
        assert path.exists(), name


def test_volumes_and_secrets_have_a_name_and_a_use() -> None:
    named = [volume.partition(":")[0] for service in services().values() for volume in service.get("volumes", ())]
    assert {volume for volume in named if not volume.startswith(".")} == {*composed()["volumes"]}
    used = [secret for service in services().values() for secret in service.get("secrets", ())]
    assert {*used} == {*composed()["secrets"]}
    for secret, source in composed()["secrets"].items():
        assert source == {"file": f"secrets/{secret}"}
        assert secret in OF_OTHERS or secret.upper() in secret_variables()


@pytest.mark.parametrize("name", ours())
def test_each_secret_is_a_file_that_its_variable_names(name: str) -> None:
    service = ours()[name]
    variables = secret_variables_of(service)
    assert {variable: variable.lower() for variable in variables} == variables
    assert sorted(variables.values()) == sorted(service["secrets"])
    assert not secret_variables() & {*service["environment"]}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("code-server", CODE_SERVER_SECRETS),
        ("webserver", WEBSERVER_SECRETS),
        ("daemon", DAEMON_SECRETS),
        ("bridge", BRIDGE_SECRETS - NOT_IN_COMPOSE),
    ],
)
def test_a_part_gets_the_secrets_that_it_uses_and_no_others(name: str, needed: frozenset[str]) -> None:
    assert {*secret_variables_of(services()[name])} == needed


def test_sessions_of_the_operator_count_at_the_bridge_and_at_dagster() -> None:
    """Both bind sessions to these settings, so they must be alike; the command makes links that log in."""
    door = {"STRAVA_BRIDGE_PUBLIC_URL", "STRAVA_DAGSTER_HOSTS", "STRAVA_TRUSTED_PROXIES"}
    doors = [
        {variable: services()[name]["environment"][variable] for variable in door}
        for name in ("bridge", "webserver", "command")
    ]
    assert doors[0] == doors[1] == doors[2]


def test_the_owners_login_is_given_to_what_needs_it_alone() -> None:
    given = {name for name, service in services().items() if "strava_database_owner_url" in service.get("secrets", ())}
    assert given == {"logins", "migrate", "command"}


@every_service
def test_a_container_may_do_little_to_its_machine(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    for forbidden in ("privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"):
        assert forbidden not in service
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


@every_service
def test_a_log_does_not_grow_for_ever(name: str) -> None:
    assert services()[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_nothing_but_the_proxy_can_be_reached_from_elsewhere() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert {*published} == {"proxy", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])


def test_networks_keep_apart_what_need_not_meet() -> None:
    members: dict[str, set[str]] = {
        network: {name for name, service in services().items() if network in service["networks"]}
        for network in composed()["networks"]
    }
    # Whoever reaches the code server can execute code there.
    assert members["code"] == {"code-server", "webserver", "daemon", "command"}
    assert members["proxied"] == {"proxy", "bridge", "webserver", "command"}
    assert members["outside"] == {"proxy"}
    assert not members["database"] & {"proxy", "prometheus"}
    assert [network for network, of in composed()["networks"].items() if of.get("internal")] == ["proxied", "database"]


def test_each_part_starts_after_what_it_needs() -> None:
    waits: dict[str, Any] = {name: service.get("depends_on", {}) for name, service in services().items()}
    assert waits["logins"] == {"postgres": {"condition": "service_healthy"}}
    assert waits["migrate"] == {"logins": {"condition": "service_completed_successfully"}}
    for name in SERVERS:
        assert waits[name]["migrate"] == {"condition": "service_completed_successfully"}
    for name in ("webserver", "daemon"):
        assert waits[name]["code-server"] == {"condition": "service_healthy"}
    # It takes deliveries while Dagster is away, and the proxy while the bridge is.
    assert {*waits["bridge"]} == {"migrate"}
    assert waits["proxy"] == {}


def test_what_ends_starts_again() -> None:
    for name, service in services().items():
        wanted = "on-failure:5" if name in ONE_SHOTS else "no" if name == "command" else "unless-stopped"
        assert service["restart"] == wanted


def test_each_server_is_looked_after() -> None:
    for name, service in services().items():
        assert name == "logins" or service["healthcheck"]["test"][0] == "CMD"


def test_runs_have_room() -> None:
    """As many as there may be at once, beside the code server; docs/small-machines.md has the figures."""
    service = filled_in(services()["code-server"], FILLED_IN)
    runs = int(service["environment"]["STRAVA_RUNS_AT_ONCE"])
    assert int(service["mem_limit"].removesuffix("m")) >= 150 + 170 * runs


def test_prometheus_scrapes_the_bridge_by_its_token() -> None:
    configuration = yaml.safe_load((FOLDER / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = configuration["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["bridge:8080"]}]
    assert job["authorization"] == {"credentials_file": "/run/secrets/strava_metrics_token"}
    assert "strava_metrics_token" in services()["prometheus"]["secrets"]


def test_grafana_finds_the_sources_that_its_dashboards_read() -> None:
    sources = (FOLDER / "grafana" / "provisioning" / "datasources.yml").read_text(encoding="utf-8")
    environment, entrypoint = services()["grafana"]["environment"], services()["grafana"]["entrypoint"][-1]
    for variable in set(re.findall(r"\$(STRAVA_GRAFANA_\w+)", sources)):
        assert variable in environment or f"{variable}=" in entrypoint


def test_what_the_guide_changes_is_there_and_has_composes_form() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert len(CHANGES) == 3
    for change in CHANGES:
        assert [error.message for error in Draft202012Validator(schema).iter_errors(change)] == []
        for kind, changed in change.items():
            assert {*changed} <= {*composed()[kind]}


def test_what_the_guide_leaves_out_is_waited_for_by_nobody() -> None:
    """A service of a profile that is not asked for is not there for those that depend on it."""
    for change in CHANGES:
        left_out = {name for name, service in change["services"].items() if "profiles" in service}
        for name, service in services().items():
            waits = service.get("depends_on", {}) | change["services"].get(name, {}).get("depends_on", {})
            if name not in left_out:
                assert not {other for other in waits if waits[other].get("required", True)} & left_out


def test_a_proxy_of_ones_own_finds_what_our_nginx_asks() -> None:
    [change] = [change for change in CHANGES if "proxy" in change["services"]]
    published = {
        port.rpartition(":")[0] for name in ("bridge", "webserver") for port in change["services"][name]["ports"]
    }
    nginx = (FOLDER / "proxies" / "nginx.conf").read_text(encoding="utf-8")
    assert published == {*re.findall(r"^    server (127\.0\.0\.1:\d+);", nginx, re.MULTILINE)}


def test_a_list_of_erasures_of_ones_own_reaches_all_who_erase() -> None:
    [change] = [change for change in CHANGES if "code-server" in change["services"]]
    erasing = {name for name, service in ours().items() if "strava_client_secret" in service["secrets"]}
    assert {*change["services"]} == erasing
