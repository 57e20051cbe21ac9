"""What the project has of its own: values in files, steps in processes, and names that others like, too."""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

# By its name a snapshot tells it from Dagster's own.
EXECUTOR = dg.multiprocess_executor.configured(
    {"max_concurrent": 2, "start_method": {"forkserver": {}}}, name="executor_of_the_host"
)


class JsonFiles(dg.ConfigurableIOManager):
    """Stores each value as a file of JSON."""

    folder: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self._path(context).write_text(json.dumps(obj))

    def load_input(self, context: dg.InputContext) -> Any:
        return json.loads(self._path(context).read_text())

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        name = context.asset_key.path if context.has_asset_key else context.get_identifier()
        return Path(self.folder) / f"{'.'.join(name)}.json"


class Warehouse(dg.ConfigurableResource):
    """The project's warehouse."""

    name: str


@dg.asset
def activities(warehouse: Warehouse) -> dict[str, Any]:
    return {"warehouse": warehouse.name, "process": os.getpid()}


@dg.asset(automation_condition=dg.AutomationCondition.eager())
def athletes(activities: dict[str, Any]) -> dict[str, Any]:
    return {"activities": activities, "process": os.getpid()}


@dg.asset_check(asset=athletes)
def has_rows(athletes: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=bool(athletes))


@dg.op
def send_mails() -> str:
    return "sent"


@dg.job
def retention() -> None:
    send_mails()


retention_every_night = dg.ScheduleDefinition(job=retention, cron_schedule="0 3 * * *")


def own_defs() -> dg.Definitions:
    """All that the project has without us."""
    return dg.Definitions(
        assets=[activities, athletes],
        asset_checks=[has_rows],
        jobs=[retention],
        schedules=[retention_every_night],
        resources={
            "io_manager": JsonFiles(folder=dg.EnvVar("HOST_FOLDER")),
            "warehouse": Warehouse(name="of the host"),
        },
        executor=EXECUTOR,
    )
