from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from strava_pipeline.import_runs import CANCELING_SECONDS, TAKE_UP_SECONDS
from strava_pipeline.request_header import RequestHeader
from strava_pipeline.secret import Secret
from strava_pipeline.warehouse.imports.launches import Fate, Launch
from strava_pipeline.warehouse.states import Severity
from strava_pipeline.watch.alert_checks import AlertCheck
from strava_pipeline.web.request_signature import CHECK_PATH, HEADER, Signature
from strava_pipeline_tests.placed import PLACE, PlacedLoopback, a_place
from strava_pipeline_tests.strava.loopback import Loopback, Raw, Reply, reply
from webhook_bridge import dagster_server
from webhook_bridge.dagster_api import (
    add_athlete,
    fate_of,
    launch_assets,
    launch_run,
    remove_athlete,
    report_check,
    runs_to_come,
    try_launch,
)
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

KEY = Secret("by-which-the-guard-knows-us")
PROXY_HEADER = RequestHeader.parse("Authorization: Bearer canary-of-the-proxy")


@pytest.fixture
def dagster() -> Iterator[PlacedLoopback]:
    with PlacedLoopback() as loopback:
        yield loopback


def answered(**answer: Any) -> Reply:
    return reply({"data": {"answer": answer}})


def server_at(url: str) -> DagsterServer:
    return DagsterServer(url, KEY)


def a_run(status: str, *, run_id: str = "run-0", at: float | None = None) -> dict[str, Any]:
    """A run as Dagster tells of it, which began or changed at a time (epoch, s)."""
    return {"runId": run_id, "status": status, "startTime": at, "updateTime": at, "tags": []}


def launch(dagster: Loopback) -> str:
    return launch_run(server_at(dagster.url), PLACE, "webhook_sync", {"ops": {}}, {"strava/lane": "live"})


def test_a_launched_run_tells_its_id(dagster: Loopback) -> None:
    dagster.answers(answered(__typename="LaunchRunSuccess", run={"id": "run-1"}))
    assert launch(dagster) == "run-1"
    [asked] = dagster.asked
    assert (asked.method, asked.target) == ("POST", "/graphql")
    sent = json.loads(asked.body)
    assert "launchRun" in sent["query"]
    assert sent["variables"]["params"] == {
        "selector": {
            "jobName": "strava_webhook_sync",
            "repositoryName": "__repository__",
            "repositoryLocationName": "strava_pipeline",
        },
        "runConfigData": {"ops": {}},
        "executionMetadata": {"tags": [{"key": "strava/lane", "value": "live"}]},
    }


def test_a_launched_run_of_assets_tells_its_id(dagster: Loopback) -> None:
    dagster.answers(answered(__typename="LaunchRunSuccess", run={"id": "run-1"}))
    assert launch_assets(server_at(dagster.url), PLACE, ["athletes", "gear"], {"dagster/partition": "7"}) == "run-1"
    assert json.loads(dagster.asked[0].body)["variables"]["params"] == {
        "selector": {
            "jobName": "__ASSET_JOB",
            "repositoryName": "__repository__",
            "repositoryLocationName": "strava_pipeline",
            "assetSelection": [{"path": ["strava", "athletes"]}, {"path": ["strava", "gear"]}],
        },
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "7"}]},
    }


@pytest.mark.parametrize(
    ("statuses", "fate"),
    [
        (["QUEUED"], Fate.TO_COME),
        (["STARTING"], Fate.TO_COME),
        (["STARTED"], Fate.AT_WORK),
        (["CANCELING"], Fate.TO_COME),
        (["CANCELED"], Fate.CANCELED),
        (["SUCCESS"], Fate.ENDED),
        (["FAILURE"], Fate.ENDED),
        # The newest comes first: Dagster executed a crashed run again.
        (["QUEUED", "FAILURE"], Fate.TO_COME),
        ([], Fate.UNKNOWN),
    ],
)
def test_the_fate_of_a_launch_is_that_of_its_last_run(dagster: Loopback, statuses: list[str], fate: Fate) -> None:
    runs = [a_run(status, run_id=f"run-{place}") for place, status in enumerate(statuses)]
    dagster.answers(answered(__typename="Runs", results=runs))
    assert fate_of(server_at(dagster.url), Launch(3, 2, 1001)) is fate
    tags = [{"key": "strava/import", "value": "3"}, {"key": "strava/launch", "value": "2"}]
    assert json.loads(dagster.asked[0].body)["variables"]["params"] == {"tags": tags}


@pytest.mark.parametrize(
    ("status", "ago_s", "fate"),
    [
        ("STARTED", 60, Fate.AT_WORK),
        # It takes up no launch any more.
        ("STARTED", TAKE_UP_SECONDS, Fate.ENDED),
        ("CANCELING", 60, Fate.TO_COME),
        ("CANCELING", CANCELING_SECONDS, Fate.CANCELED),
    ],
)
def test_a_run_that_died_is_not_waited_for_without_end(
    dagster: Loopback, status: str, ago_s: float, fate: Fate
) -> None:
    dagster.answers(answered(__typename="Runs", results=[a_run(status, at=time.time() - ago_s)]))
    assert fate_of(server_at(dagster.url), Launch(3, 2, 1001)) is fate
    dagster.answers(answered(__typename="Runs", results=[a_run(status, at=time.time() - ago_s)]))
    assert runs_to_come(server_at(dagster.url), ["run-0"]) == ({"run-0"} if fate is Fate.AT_WORK else set())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (answered(__typename="PipelineNotFoundError", message="no such job"), "refused: no such job"),
        (answered(__typename="UnauthorizedError"), "refused: UnauthorizedError"),
        (answered(__typename="RunConfigValidationInvalid", message=""), "refused: RunConfigValidationInvalid"),
    ],
)
def test_a_refusal_says_why(dagster: Loopback, answer: Reply, message: str) -> None:
    dagster.answers(answer)
    with pytest.raises(DagsterUnavailable, match=message):
        launch(dagster)


@pytest.mark.parametrize(
    "answer",
    [
        reply({"errors": [{"message": "Cannot query field"}]}),
        reply({"data": None}),
        reply({"data": {"answer": None}}),
        reply({"data": {"answer": "text"}}),
        reply({"data": {"answer": {}}}),
        reply([]),
        reply(None),
        Reply(200, b"<html>a proxy</html>"),
        Reply(200, b""),
        Reply(500, b'{"data": {"answer": {"__typename": "LaunchRunSuccess"}}}'),
        Reply(404, b"{}"),
        Raw(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]), hang_up=True),
    ],
)
def test_an_answer_that_is_none_means_away(dagster: Loopback, answer: Reply | Raw) -> None:
    dagster.answers(answer)
    with pytest.raises(DagsterUnavailable, match="gave no usable answer"):
        launch(dagster)
    assert len(dagster.asked) == 1


def test_silence_means_away(dagster: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dagster_server, "TIMEOUT_SECONDS", 0.2)
    dagster.answers(Raw(lambda: iter(())))
    with pytest.raises(DagsterUnavailable, match="gave no usable answer: ReadTimeout"):
        launch(dagster)


def test_nobody_there_means_away() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DagsterUnavailable, match=f"Dagster at http://127.0.0.1:{port} gave no usable answer"):
        launch_run(server_at(f"http://127.0.0.1:{port}"), PLACE, "webhook_sync", {}, {})


def test_each_request_is_signed_for_itself_and_the_key_stays_here(
    dagster: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number in range(2):
        dagster.answers(answered(__typename="LaunchRunSuccess", run={"id": f"run-{number}"}))
        launch(dagster)
    signatures = [Signature.parse(asked.headers[HEADER]) for asked in dagster.asked]
    assert dagster.asked[0].body == dagster.asked[1].body
    assert len(set(signatures)) == 2
    for signature, asked in zip(signatures, dagster.asked, strict=True):
        assert signature is not None
        assert signature.is_by(KEY)
        assert signature.is_of(asked.body)
        assert "Authorization" not in asked.headers
        assert KEY.reveal() not in f"{asked.headers}{asked.body!r}"
    assert KEY.reveal() not in repr(server_at(dagster.url))
    assert KEY.reveal() not in caplog.text


def test_nothing_signed_follows_to_another_host(dagster: Loopback) -> None:
    with Loopback() as elsewhere:
        dagster.answers(Reply(307, b"", {"Location": f"{elsewhere.url}/graphql"}))
        with pytest.raises(DagsterUnavailable, match=r"does not let us in \(307\): .* set STRAVA_DAGSTER_HEADER"):
            launch_run(DagsterServer(dagster.url, KEY, header=PROXY_HEADER), PLACE, "webhook_sync", {}, {})
        assert elsewhere.asked == []
        assert "Authorization" in dagster.asked[0].headers


def test_a_login_proxys_header_goes_with_each_request_and_shows_nowhere(
    dagster: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = DagsterServer(dagster.url, KEY, header=PROXY_HEADER)
    dagster.answers(answered(__typename="LaunchRunSuccess", run={"id": "run-1"}))
    launch_run(server, PLACE, "webhook_sync", {}, {})
    dagster.answers(reply({}))
    report_check(server, AlertCheck("activities", Severity.WARNING, ""))
    for status in (401, 302, 500):
        dagster.answers(Reply(status, b"no", {"Location": dagster.url} if status == 302 else {}))
        with pytest.raises(DagsterUnavailable) as caught:
            launch_run(server, PLACE, "webhook_sync", {}, {})
        assert "canary" not in str(caught.value)
    assert [asked.headers["Authorization"] for asked in dagster.asked] == ["Bearer canary-of-the-proxy"] * 5
    assert all(Signature.parse(asked.headers[HEADER]) for asked in dagster.asked)
    assert "canary" not in f"{server!r}{caplog.text}"


def test_plain_http_passes_no_proxy_of_the_environment(dagster: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback() as proxy:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        dagster.answers(answered(__typename="LaunchRunSuccess", run={"id": "run-1"}))
        assert launch(dagster) == "run-1"
        assert proxy.asked == []


@pytest.mark.parametrize("status", [401, 403, 421])
def test_being_kept_out_tells_what_to_set(dagster: Loopback, status: int) -> None:
    dagster.answers(Reply(status, b"no\n"))
    with pytest.raises(DagsterUnavailable, match=rf"does not let us in \({status}\).*STRAVA_TOKEN_KEYS") as caught:
        launch(dagster)
    assert KEY.reveal() not in str(caught.value)


def test_a_check_is_reported_with_a_signature_of_its_path(dagster: Loopback) -> None:
    dagster.answers(reply({}))
    report_check(server_at(dagster.url), AlertCheck("activities", Severity.WARNING, "upkeep_late: Upkeep is late"))
    [asked] = dagster.asked
    assert (asked.method, asked.target) == ("POST", CHECK_PATH)
    assert json.loads(asked.body) == {
        "asset_key": ["strava", "activities"],
        "check_name": "no_warning",
        "passed": False,
        "severity": "WARN",
        "metadata": {"alerts": "upkeep_late: Upkeep is late"},
    }
    signature = Signature.parse(asked.headers[HEADER])
    assert signature is not None
    assert signature.is_by(KEY, CHECK_PATH)
    assert not signature.is_by(KEY)
    assert signature.is_of(asked.body)


@pytest.mark.parametrize("status", [401, 500])
def test_a_check_that_dagster_does_not_take_is_told(dagster: Loopback, status: int) -> None:
    dagster.answers(Reply(status, b""))
    with pytest.raises(DagsterUnavailable):
        report_check(server_at(dagster.url), AlertCheck("activities", Severity.CRITICAL, ""))


def test_no_check_is_reported_of_an_asset_that_was_left_out(dagster: PlacedLoopback) -> None:
    dagster.places = [a_place(assets=["activities"])]
    report_check(server_at(dagster.url), AlertCheck("athletes", Severity.CRITICAL, ""))
    assert dagster.asked == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [(add_athlete, "AddDynamicPartitionSuccess"), (remove_athlete, "DeleteDynamicPartitionsSuccess")],
)
def test_partitions_are_changed_in_the_place_that_was_found(
    dagster: PlacedLoopback, change: Callable[[DagsterServer, int], None], kind: str
) -> None:
    dagster.places = [a_place("sports", "theirs", ["company", "cycling"])]
    dagster.answers(answered(__typename=kind, key="7"))
    change(server_at(dagster.url), 7)
    assert json.loads(dagster.asked[0].body)["variables"] == {
        "params": "7",
        "repository": {"repositoryName": "theirs", "repositoryLocationName": "sports"},
        "set": "company_cycling_athletes",
    }


@pytest.mark.parametrize(
    ("permissions", "says"),
    [
        ([{"permission": "launch_pipeline_execution", "value": True}], None),
        ([], None),
        ([{"permission": "launch_pipeline_execution", "value": False}], "lets nobody launch runs.*--read-only"),
    ],
    ids=["allowed", "not said", "read-only"],
)
def test_a_launch_is_tried_without_launching(
    dagster: PlacedLoopback, permissions: list[dict[str, Any]], says: str | None
) -> None:
    dagster.answers(
        answered(__typename="ExecutionPlan"), answered(__typename="WorkspaceLocationEntry", permissions=permissions)
    )
    with nullcontext() if says is None else pytest.raises(DagsterUnavailable, match=says):
        try_launch(server_at(dagster.url), PLACE, "webhook_sync", {"ops": {}})
    planned, permitted = (json.loads(asked.body) for asked in dagster.asked)
    assert planned["variables"] == {
        "params": {
            "pipelineName": "strava_webhook_sync",
            "repositoryName": "__repository__",
            "repositoryLocationName": "strava_pipeline",
        },
        "config": {"ops": {}},
    }
    assert permitted["variables"] == {"params": "strava_pipeline"}
    assert all(sent["query"].lstrip().startswith("query ") for sent in (planned, permitted))


def test_a_trial_says_why_a_launch_would_be_refused(dagster: PlacedLoopback) -> None:
    dagster.answers(answered(__typename="RunConfigValidationInvalid"))
    with pytest.raises(DagsterUnavailable, match="refused: RunConfigValidationInvalid"):
        try_launch(server_at(dagster.url), PLACE, "webhook_sync", {"ops": {}})
