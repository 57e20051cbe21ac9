"""Dagster's own GraphQL over HTTP, within the test's process, on any instance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster_graphql.schema import create_schema

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.strava.loopback import Answer, Asked, Loopback, reply
from webhook_bridge import dagster_server


@contextmanager
def dagster_graphql(
    instance: dg.DagsterInstance, target: WorkspaceLoadTarget, *, read_only: bool = False
) -> Iterator[Loopback]:
    """A webserver of that instance, with the code locations of a workspace."""
    schema = create_schema()
    with (
        WorkspaceProcessContext(instance, target, read_only=read_only) as workspace,
        Loopback() as loopback,
        # A busy machine takes longer.
        patch.object(dagster_server, "TIMEOUT_SECONDS", PATIENCE_SECONDS),
    ):

        def answer(asked: Asked) -> Answer:
            sent = json.loads(asked.body)
            context = workspace.create_request_context()
            executed = schema.execute_async(sent["query"], context_value=context, variable_values=sent["variables"])
            result = asyncio.run(executed)
            assert result.errors is None
            return reply({"data": result.data})

        loopback.answer = answer
        yield loopback
