"""A process that can die at a named point: the real bridge, or the real job as a run of its own.

``python victim.py bridge`` or ``python victim.py run RUN_ID FENCE...``. ``VICTIM_DIES_AT`` names the point.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """Before or after a call of ``module.name``; after one that returned nothing nobody dies."""

    module: str
    name: str
    before: bool = False


BRIDGE_POINTS = {
    "received, not committed": Point("webhook_bridge.intake", "store_events", before=True),
    "committed, not acknowledged": Point("webhook_bridge.intake", "store_events"),
    "claimed, not launched": Point("webhook_bridge.dispatcher", "claim_objects"),
    "launched, not noted": Point("webhook_bridge.dispatcher", "launch_run"),
}
RUN_POINTS = {
    "begun": Point("strava_pipeline.warehouse.inbox.claims", "begin_run"),
    "taken up": Point("strava_pipeline.warehouse.inbox.claims", "refresh_claim"),
    "detail stored": Point("strava_pipeline.sync.webhook", "_update_rest", before=True),
    "streams fetched, not stored": Point("strava_pipeline.sync.webhook", "map_streams"),
    "done, not committed": Point("strava_pipeline.sync.webhook", "mark_done"),
    "done, not shown": Point("strava_pipeline.sync.claims_at_work", "sync_activity"),
}


def main() -> None:
    """Lay the trap, be the process."""
    if name := os.environ.get("VICTIM_DIES_AT"):
        _die_at((BRIDGE_POINTS | RUN_POINTS)[name])
    what, *arguments = sys.argv[1:]
    if what == "bridge":
        from strava_pipeline.cli import cli  # noqa: PLC0415  after the trap was laid

        cli(["bridge"])
    else:
        _run(arguments[0], [int(fence) for fence in arguments[1:]])


def _die_at(point: Point) -> None:
    module = importlib.import_module(point.module)
    whole: Callable[..., Any] = getattr(module, point.name)

    @functools.wraps(whole)
    def trapped(*args: Any, **kwargs: Any) -> Any:
        if point.before:
            os.kill(os.getpid(), signal.SIGKILL)
        found = whole(*args, **kwargs)
        if found != []:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(module, point.name, trapped)


def _run(run_id: str, fences: list[int]) -> None:
    import dagster as dg  # noqa: PLC0415  the bridge does without

    # After the trap was laid.
    from strava_pipeline_tests.defs.own_definitions import own_resources, webhook_sync  # noqa: PLC0415

    with dg.DagsterInstance.ephemeral() as instance:
        webhook_sync.execute_in_process(
            run_config={"ops": {"strava_claimed_objects": {"config": {"fences": fences}}}},
            instance=instance,
            resources=own_resources(),
            run_id=run_id,
            raise_on_error=False,
        )


if __name__ == "__main__":
    main()
