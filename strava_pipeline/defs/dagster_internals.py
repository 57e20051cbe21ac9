"""All that we use of Dagster beside its public interface: any release may move or change these names.

No other module of ours imports from ``dagster._*``, which a test checks. So a new release of Dagster is tried here
first. What each name is for, since nothing public does the same:

- ``AssetCheckEvaluationTargetMaterializationData``, a field of the public ``AssetCheckEvaluation``: which
  materialization a reported result of a check belongs to. Without it Dagster's UI shows the check as not evaluated.
- ``AssetCheckExecutionRecord`` and ``COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES``: what the instance returns as
  the last result of a check, and which of its states are results.
- ``DagsterLogHandler``: how a run's log finds the console's loggers, so that a line is written once.
- ``SqlEventLogStorage``, ``AssetCheckExecutionsTable``, ``BulkActionsTable``, ``BackfillTagsTable``,
  ``BULK_ACTION_TERMINAL_STATUSES``, ``BACKFILL_ID_TAG``, ``EventLogEntry``, ``ConfigurableClassData``: a storage of
  our own in ``dagster.yaml`` (:mod:`strava_pipeline.defs.dagster_storage`), and what it deletes with a run.
- ``WorkspaceProcessContext``, ``WorkspaceFileTarget``, ``configure_loggers``: Dagster's webserver behind a login.
  Its own command takes no application around it, and sends usage data.
- ``grpc_command`` and ``DagsterApiServer``: Dagster's code server, which starts Python anew for each run.
  :func:`serve_code` lets it fork them. They are imported there, since they take long to load.
"""

import multiprocessing
from collections.abc import Sequence
from typing import Any

from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.log_manager import DagsterLogHandler
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._serdes import ConfigurableClassData
from dagster._utils.log import configure_loggers

__all__ = [
    "BACKFILL_ID_TAG",
    "BULK_ACTION_TERMINAL_STATUSES",
    "COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionsTable",
    "BackfillTagsTable",
    "BulkActionsTable",
    "ConfigurableClassData",
    "DagsterLogHandler",
    "EventLogEntry",
    "SqlEventLogStorage",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "configure_loggers",
    "serve_code",
]


def serve_code(arguments: Sequence[str], run_modules: Sequence[str]) -> None:
    """Serve a code location as ``dagster api grpc`` does with these arguments, until Ctrl-C, but fork its runs.

    The first run starts a process that loads ``run_modules`` and what Dagster runs them by. Each run is forked from
    that: it finds there what takes seconds to load, and shares memory with others. That process ends with the last of
    server and runs.
    """
    from dagster._cli.api import grpc_command  # noqa: PLC0415  see above
    from dagster._grpc import server  # noqa: PLC0415  as well

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dagster._grpc.impl", *run_modules])

    class ForkingApiServer(server.DagsterApiServer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._mp_ctx: Any = context

    # Where the command looks it up.
    server.DagsterApiServer = ForkingApiServer  # type: ignore[misc, assignment]
    grpc_command.main(list(arguments), standalone_mode=False)
