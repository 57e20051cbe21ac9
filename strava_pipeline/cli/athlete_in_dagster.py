"""An athlete's partitions and runs in Dagster, for commands: in our own by its storage, in a host's by asking it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from strava_pipeline.names import OWN_NAMES

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from strava_pipeline.settings import Settings
    from webhook_bridge.dagster_server import DagsterServer


class AthleteInDagster(ABC):
    """What commands do for an athlete in Dagster; each may be done twice.

    ``was_there``: whether this Dagster was there before the command. One of our own that was not may stand for a host's
    whose webserver is away. ``is_hosts``: whether it is a host's, whose own assets may have runs of the athlete, too.
    """

    was_there: bool = True
    is_hosts: ClassVar[bool] = False

    @staticmethod
    @contextmanager
    def opened(settings: Settings) -> Iterator[AthleteInDagster]:
        """Open the Dagster that the commands work with. ``DagsterUnavailable`` if a host's does not answer."""
        from strava_pipeline.cli.instance import open_instance
        from strava_pipeline.cli.whose_dagster import hosts_dagster
        from strava_pipeline.local.dagster_home import has_instance

        host = hosts_dagster(settings)
        if host is not None:
            yield _InHosts(host)
            return
        was_there = has_instance(settings)
        with open_instance(settings) as instance:
            yield _InOwn(instance, was_there)

    @abstractmethod
    def add(self, athlete_id: int) -> None:
        """Create the athlete's partitions, if there are none."""

    @abstractmethod
    def remove(self, athlete_id: int) -> None:
        """Delete the athlete's partitions, if there are any."""

    @abstractmethod
    def delete_runs(self, athlete_id: int) -> int:
        """Delete the ended runs that are the athlete's alone; returns how many are still at work.

        Each asset gets a last materialization that shows nothing of any athlete.
        """


@dataclass(frozen=True)
class _InOwn(AthleteInDagster):
    instance: DagsterInstance
    was_there: bool

    def add(self, athlete_id: int) -> None:
        from strava_pipeline.defs.partitions import register_athlete

        register_athlete(self.instance, OWN_NAMES, athlete_id)

    def remove(self, athlete_id: int) -> None:
        from strava_pipeline.defs.partitions import unregister_athlete

        unregister_athlete(self.instance, OWN_NAMES, athlete_id)

    def delete_runs(self, athlete_id: int) -> int:
        from strava_pipeline.cli.athlete_dagster_runs import delete_runs

        return delete_runs(self.instance, OWN_NAMES, athlete_id)


@dataclass(frozen=True)
class _InHosts(AthleteInDagster):
    is_hosts: ClassVar[bool] = True
    dagster: DagsterServer

    def add(self, athlete_id: int) -> None:
        from webhook_bridge.dagster_api import add_athlete

        add_athlete(self.dagster, athlete_id)

    def remove(self, athlete_id: int) -> None:
        from webhook_bridge.dagster_api import remove_athlete

        remove_athlete(self.dagster, athlete_id)

    def delete_runs(self, athlete_id: int) -> int:
        from webhook_bridge.dagster_api import cover_last_materializations, delete_runs

        left = delete_runs(self.dagster, athlete_id)
        # One call deletes a hundred at most; whatever is left after one that deleted none is at work.
        while left and (now_left := delete_runs(self.dagster, athlete_id)) < left:
            left = now_left
        cover_last_materializations(self.dagster)
        return left
