"""Somebody's own program: it has our definitions among its own, serves the bridge, and shows all that it gets to see.

Called with the address of a mock Strava, an athlete, a month, a key of somebody else, and faults to be told, as JSON.
"""

import json
import logging
import os
import sys
import threading
import traceback
from datetime import timedelta
from types import TracebackType
from typing import Any

import click
import dagster as dg
import requests

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.names import ALL_ASSETS, HISTORY_ASSETS, PROFILE_ASSETS
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client, open_tokens
from strava_pipeline.warehouse.migrate import open_warehouse
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from webhook_bridge.app import create_app

NOWHERE = "http://127.0.0.1:9/api/v3"
THEIR_LINE = "at https://theirs.example/?code=theirs-to-log"
ours, theirs = get_logger("strava_pipeline.some.module"), logging.getLogger("theirs")


class Everything(logging.Handler):
    """Prints each record as a person reads it, and as a collector of records has it."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(logging.Formatter("%(levelname)s %(name)s: %(message)s").format(record))
        click.echo(json.dumps(vars(record), default=repr))


def their_hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    click.echo(f"their hook: {kind} {error} {traceback.format_tb(trace)}")


@dg.asset
def their_asset(context: dg.AssetExecutionContext) -> None:
    """Logs as it always has."""
    context.log.info(THEIR_LINE)
    theirs.info(THEIR_LINE)


def main() -> None:
    mock, athlete, month, other_key, faults = sys.argv[1:]
    logging.basicConfig(level=logging.DEBUG, handlers=[Everything()])
    sys.excepthook, hooks_of_threads = their_hook, threading.excepthook
    defs = dg.Definitions.merge(dg.Definitions(assets=[their_asset]), build_strava_defs())
    with dg.DagsterInstance.ephemeral() as instance:
        register_athlete(instance, NAMES, int(athlete))

        def materialize(*assets: str, partition: str | None = None) -> None:
            _materialize(defs, instance, assets, partition)

        materialize("their_asset")
        materialize(*HISTORY_ASSETS, partition=f"{athlete}|{month}-01")
        requests.post(f"{mock}/mock/tokens/expire", json={}, timeout=PATIENCE_SECONDS).raise_for_status()
        materialize(*PROFILE_ASSETS, partition=athlete)
        for fault in json.loads(faults):
            requests.post(f"{mock}/mock/faults", json=[fault], timeout=PATIENCE_SECONDS).raise_for_status()
            materialize(*PROFILE_ASSETS, partition=athlete)
        _make_mistakes(int(athlete))
        _serve()
        requests.post(
            f"{mock}/mock/deauthorize", json={"athlete_id": int(athlete)}, timeout=PATIENCE_SECONDS
        ).raise_for_status()
        materialize(*PROFILE_ASSETS, partition=athlete)
        os.environ["STRAVA_TOKEN_KEYS"] = other_key
        materialize(*PROFILE_ASSETS, partition=athlete)
    theirs.info(THEIR_LINE)
    hooks = (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook)
    click.echo("unchanged" if hooks == (logging.LogRecord, their_hook, hooks_of_threads) else f"changed: {hooks}")


def _materialize(
    defs: dg.Definitions, instance: dg.DagsterInstance, assets: tuple[str, ...], partition: str | None
) -> None:
    """A run, and all that Dagster keeps of it."""
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[key_of(name) if name in ALL_ASSETS else dg.AssetKey(name) for name in assets],
        partition_key=partition,
        raise_on_error=False,
    )
    for entry in instance.all_logs(result.run_id):
        click.echo(dg.serialize_value(entry))
    click.echo(f"run of {assets[0]}: {'success' if result.success else 'failure'}")


def _make_mistakes(athlete_id: int) -> None:
    """Log a token, and raise it, as a mistake of ours would; ask where nobody answers."""
    settings = load_settings()
    with open_warehouse(settings) as engine:
        held = open_tokens(settings, engine).access_token(athlete_id)
        token = held.reveal()
        ours.info("asked with %s", {"Authorization": f"Bearer {token}"}, stack_info=True)
        try:
            _fail(token)
        except StravaPipelineError as error:
            ours.exception("failed with %s", token, exc_info=error)
            click.echo(f"{error} {error!r} {error.args}")
        nowhere: Any = settings.model_copy(update={"api_url": NOWHERE})
        try:
            open_client(nowhere, engine, Lane.LIVE, timedelta(0)).get(athlete_id, "/athlete", {"access_token": token})
        except StravaPipelineError as error:
            ours.warning("%s", error, exc_info=True)
            click.echo("".join(traceback.format_exception(error)))
        del held  # masked as long as it lives


def _fail(token: str) -> None:
    raise StravaPipelineError(f"it was {token}") from ValueError(token)


def _serve() -> None:
    """Deliveries and pages that go wrong in the ways there are."""
    settings = load_settings()
    path = f"/webhooks/strava/{settings.required('webhook_path_token')}"
    with open_warehouse(settings) as engine:
        client = create_app(settings, engine).test_client()
        query = {"hub.mode": "subscribe", "hub.challenge": "c", "hub.verify_token": "wrong"}
        answers = [
            client.get(path, query_string=query | {"hub.verify_token": settings.required("webhook_verify_token")}),
            client.get(path, query_string=query),
            client.post(path, data=b"{"),
            client.post(path, data=b"{}", headers={"X-Strava-Signature": "t=1,v1=2"}),
            client.post("/webhooks/strava/guess", data=b"{}"),
            client.post("/login", data={"token": settings.required("operator_token")}),
        ]
        engine.dispose()
    click.echo(f"served: {[answer.status_code for answer in answers]}")


if __name__ == "__main__":
    main()
