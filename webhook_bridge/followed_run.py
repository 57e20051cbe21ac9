"""One run in Dagster, followed by whoever launched it: how it stands, and how it is ended early."""

from __future__ import annotations

from typing import Final

from webhook_bridge.dagster_server import DagsterServer, ask

SUCCESS: Final = "SUCCESS"
ENDED: Final = frozenset({SUCCESS, "FAILURE", "CANCELED"})
_STATUS = """
query Status($params: ID!) {
  answer: runOrError(runId: $params) {
    __typename
    ... on Run { status }
    ... on Error { message }
  }
}
"""
_TERMINATE = """
mutation Terminate($params: String!) {
  answer: terminateRun(runId: $params) {
    __typename
    ... on Error { message }
  }
}
"""


def status_of_run(dagster: DagsterServer, run_id: str) -> str:
    """Return a run's status in Dagster's words, one of :data:`ENDED` at its end. ``DagsterUnavailable``."""
    return ask(dagster, _STATUS, run_id, {"Run"}, lambda answer: str(answer["status"]))


def terminate_run(dagster: DagsterServer, run_id: str) -> None:
    """Ask a run to end; what it has stored is kept. ``DagsterUnavailable`` if that cannot be asked."""
    ask(dagster, _TERMINATE, run_id, {"TerminateRunSuccess"}, lambda _: None)


def address_of_run(dagster: DagsterServer, run_id: str) -> str:
    """Return the address of a run's page in Dagster's UI."""
    return f"{dagster.url}/runs/{run_id}"
