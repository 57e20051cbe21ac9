"""Shows in a run's tags that its process lives: which one it is, and a count that goes on while it does.

Dagster itself does not know: its launcher watches a run from the code server that started it, and nobody else does.
Only a run that is ours, and is executed in one process, shows life: another run's steps come and go with processes of
their own, and a host's runs are not ours to mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import dagster as dg

from strava_pipeline.defs.our_runs import is_in_one_process
from strava_pipeline.defs.run_process import process_tag
from strava_pipeline.names import Names
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.heartbeat import heartbeat

log = get_logger(__name__)

# Several times between two looks of :mod:`.dead_runs`, so that one failed sign does no harm.
BEAT_SECONDS = 15.0


@contextmanager
def showing_life(context: dg.InitResourceContext, names: Names, *, is_own: bool) -> Iterator[None]:
    """Show in its tags that the context's run lives during the block, if it is one of those that do.

    ``is_own``: whether the deployment is our own, where one process executes each run.
    """
    instance, run, beats = context.instance, context.run, count(1)
    if instance is None or run is None or not is_in_one_process(run, names, is_own=is_own):
        yield
        return

    def beat() -> None:
        try:
            instance.add_run_tags(run.run_id, process_tag(names) | {names.beat_tag: str(next(beats))})
        except Exception as error:  # noqa: BLE001  a storage has errors of its own, and signs must go on after them
            log.debug("no sign of life: %s", type(error).__name__)

    beat()
    with heartbeat(beat, BEAT_SECONDS):
        yield
