"""Where in Dagster our definitions are, and under which names."""

from __future__ import annotations

import time
from dataclasses import dataclass

from strava_pipeline.names import Names

# A location is renamed or reloaded now and then; whatever Dagster refuses has it asked anew at once.
KEPT_SECONDS = 180.0


@dataclass(frozen=True)
class Place:
    """A repository with our definitions, in a code location of Dagster's.

    ``assets`` and ``jobs``: the plain names of those that are there. ``is_own``: it is a deployment of our own, whose
    Dagster is nobody else's. ``app``: the id of the Strava app that the definitions were made for, if they tell it.
    """

    location: str
    repository: str
    names: Names
    assets: frozenset[str]
    jobs: frozenset[str]
    is_own: bool
    app: str | None = None

    @property
    def selector(self) -> dict[str, str]:
        """The repository, as arguments of Dagster's GraphQL select it."""
        return {"repositoryName": self.repository, "repositoryLocationName": self.location}

    def __str__(self) -> str:
        where = f"location {self.location}, repository {self.repository}, prefix {'/'.join(self.names.key_prefix)}"
        return where if self.app is None else f"{where}, app {self.app}"


@dataclass
class KeptPlace:
    """The place that was found last, if any, and until when it is not asked for anew (monotonic, s).

    ``location``: of the last place that was ever found.
    """

    place: Place | None = None
    until: float = float("-inf")
    location: str | None = None

    @property
    def current(self) -> Place | None:
        """The place, as long as nothing speaks against it."""
        return self.place if time.monotonic() < self.until else None

    def keep(self, place: Place) -> None:
        """Remember a place for some minutes."""
        self.place = place
        self.location = place.location
        self.until = time.monotonic() + KEPT_SECONDS

    def doubt(self) -> None:
        """Have the place asked for anew by whoever needs it next."""
        self.until = float("-inf")

    def forget(self) -> None:
        """Remember that there is none."""
        self.place = None
