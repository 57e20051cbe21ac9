"""What the operator's page tells of Dagster: whether it answers, has our definitions, and what stands still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strava_pipeline.names import Names
from webhook_bridge.dagster_place import NoPlace, find_place
from webhook_bridge.dagster_server import GLANCE_SECONDS, DagsterRefused, DagsterServer, DagsterUnavailable
from webhook_bridge.standing_still import Stopped, stopped_automation


@dataclass(frozen=True)
class DagsterGlance:
    """What Dagster told: ``fault`` is why it works on nothing, though it ``answers``, or ''.

    ``names``: those that ours have there, as long as they are known.
    """

    answers: bool
    fault: str = ""
    names: Names | None = None
    stopped: Sequence[Stopped] = ()


def glance_at(dagster: DagsterServer) -> DagsterGlance:
    """Look at Dagster for a page, for which a person waits."""
    try:
        try:
            return _look(dagster)
        except NoPlace:
            raise
        except DagsterRefused:
            # The place that was kept may be gone: it is looked for anew, once.
            return _look(dagster)
    except DagsterRefused as error:
        return DagsterGlance(answers=True, fault=str(error))
    except DagsterUnavailable:
        return DagsterGlance(answers=False)


def _look(dagster: DagsterServer) -> DagsterGlance:
    place = find_place(dagster, GLANCE_SECONDS)
    stopped = stopped_automation(dagster, place, GLANCE_SECONDS)
    return DagsterGlance(answers=True, names=place.names, stopped=stopped)
