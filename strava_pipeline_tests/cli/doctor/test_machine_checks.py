"""Files, disks, versions, keys and the bridge's settings."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from strava_pipeline.cli.doctor import machine_checks
from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.local.dagster_home import INSTANCE_FILE, shipped_file
from strava_pipeline.local.disk import Disk
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.conftest import SETTINGS
from strava_pipeline_tests.doctor_checks import finding_of, findings_of, told_by


@pytest.fixture(autouse=True)
def app(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def test_the_versions_are_told_and_fit() -> None:
    verdict, message = told_by("versions")
    assert verdict is Verdict.OK
    version = importlib.metadata.version("strava-pipeline")
    assert f"strava-pipeline {version} (extras: apprise, celery, lake, local, pictures), Python 3." in message
    assert f"dagster {importlib.metadata.version('dagster')}" in message


def test_a_package_outside_its_range_and_one_that_lacks_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["dagster<1.13,>=1.12", "uvicorn[standard]>=0.30", "no-such-package>=1"]
    needed += ["apprise>=99; extra == 'apprise'", "no-such-lake>=1; extra == 'lake'", "pytest>=99; extra == 'dev'"]
    monkeypatch.setattr(machine_checks, "requires", lambda _: needed)
    _, *faults = findings_of("versions")
    dagster = importlib.metadata.version("dagster")
    assert [(fault.verdict, fault.message) for fault in faults] == [
        (Verdict.FAIL, f"dagster is {dagster}, and strava-pipeline works with <1.13,>=1.12"),
        (Verdict.FAIL, "no-such-package is not installed, and strava-pipeline works with >=1"),
        (Verdict.FAIL, f"apprise is {importlib.metadata.version('apprise')}, and strava-pipeline works with >=99"),
    ]
    assert faults[0].what_to_do == "pip install 'dagster<1.13,>=1.12'"


def test_a_lake_that_nothing_can_write_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told, *others = findings_of("versions")
    assert "(extras: apprise, celery, local, pictures)" in told.message
    assert others == []
    monkeypatch.setenv("STRAVA_LAKE_URL", "memory://lake")
    _, fault = findings_of("versions")
    assert (fault.verdict, fault.what_to_do) == (Verdict.FAIL, "pip install 'strava-pipeline[lake]'")


def test_the_storage_of_a_host_is_the_hosts_to_open_and_ours_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    storage = tmp_path / "storage"
    storage.mkdir()
    storage.chmod(0o755)
    *_, told = findings_of("files")
    assert told.verdict is Verdict.OK
    assert told.message == f"not looked at: {tmp_path} is the folder of a Dagster with another storage than ours"
    assert not any(str(storage) in finding.message for finding in findings_of("files"))
    (tmp_path / INSTANCE_FILE).write_text(shipped_file(INSTANCE_FILE).read_text())
    warning = f"{storage} (0755) is open to others: chmod -R go= {storage}"
    assert (Verdict.WARN, warning) in [(finding.verdict, finding.message) for finding in findings_of("files")]


def test_each_file_that_others_can_read_is_told_with_its_remedy() -> None:
    home = load_settings().home
    (home / "logs").mkdir(parents=True)
    for folder in (home, home / "logs"):
        folder.chmod(0o755)
    told = findings_of("files")
    assert [finding.verdict for finding in told] == [Verdict.WARN, Verdict.WARN]
    assert told[0].message == f"{home} (0755) is open to others: chmod go= {home}"
    for folder in (home, home / "logs"):
        folder.chmod(0o700)
    assert told_by("files") == (Verdict.OK, f"no other user has access to {home}")


@pytest.mark.parametrize(("free", "verdict"), [(10**11, Verdict.OK), (2 * 10**9, Verdict.WARN), (10**8, Verdict.FAIL)])
def test_a_disk_that_fills_is_told_before_it_is_full(
    monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    disk = Disk("STRAVA_HOME", Path("/data"), free, 10**12)
    monkeypatch.setattr(machine_checks, "local_disks", lambda _: [disk])
    finding = finding_of("disk")
    assert (finding.verdict, finding.message) == (verdict, str(disk))
    assert bool(finding.what_to_do) is (verdict is not Verdict.OK)


def test_an_app_is_whole_or_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by("Strava app") == (Verdict.OK, "app 4711")
    monkeypatch.delenv("STRAVA_CLIENT_ID")
    verdict, message = told_by("Strava app")
    assert verdict is Verdict.FAIL
    assert "STRAVA_CLIENT_ID is not set" in message
    monkeypatch.delenv("STRAVA_CLIENT_SECRET")
    verdict, message = told_by("Strava app")
    assert verdict is Verdict.OK
    assert message.startswith("none is set up: archives and files are all there is")


def test_unusable_keys_are_found_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by("token keys")[0] is Verdict.OK
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", "k1:c2hvcnQ=")
    verdict, message = told_by("token keys")
    assert verdict is Verdict.FAIL
    assert "key k1 has 5 bytes" in message
    assert "c2hvcnQ" not in message


def test_what_the_bridge_needs_to_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by("bridge settings") == (Verdict.OK, "signatures required, port 8080")
    monkeypatch.delenv("STRAVA_WEBHOOK_SIGNING_SECRETS")
    verdict, message = told_by("bridge settings")
    assert verdict is Verdict.FAIL
    assert message.startswith("STRAVA_WEBHOOK_SIGNING_SECRETS is not set: set it, or")


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({}, Verdict.OK, "0 in front of the bridge are trusted"),
        ({"STRAVA_BRIDGE_PUBLIC_URL": "http://localhost:8080"}, Verdict.OK, "0 in front"),
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org"},
            Verdict.WARN,
            "STRAVA_TRUSTED_PROXIES is not",
        ),
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org", "STRAVA_TRUSTED_PROXIES": "1"},
            Verdict.OK,
            "1 in front",
        ),
        # Something that hands on connections as they are is told by an explicit 0.
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org", "STRAVA_TRUSTED_PROXIES": "0"},
            Verdict.OK,
            "0 in front",
        ),
    ],
)
def test_a_public_bridge_whose_proxy_is_not_trusted_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], verdict: Verdict, told: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    finding = finding_of("proxies")
    assert finding.verdict is verdict
    assert finding.message.startswith(told)


@pytest.mark.parametrize(
    ("name", "value", "verdict", "told"),
    [
        ("STRAVA_OPERATOR_TOKEN", "a-token-of-the-operator", Verdict.OK, "a login is asked for"),
        ("STRAVA_OPERATOR_TOKEN", "", Verdict.WARN, "STRAVA_OPERATOR_TOKEN is not set"),
        ("STRAVA_OPERATOR_TOKEN", "0101" * 8, Verdict.WARN, "STRAVA_OPERATOR_TOKEN has fewer than 8"),
        ("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN", "1", Verdict.WARN, "STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN"),
    ],
)
def test_a_door_that_is_open_or_cannot_be_opened_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, verdict: Verdict, told: str
) -> None:
    monkeypatch.setenv(name, value)
    finding = finding_of("operator")
    assert finding.verdict is verdict
    assert finding.message.startswith(told)
    assert bool(finding.what_to_do) is (verdict is Verdict.WARN)
