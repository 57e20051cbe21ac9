"""What an archive import is asked to take for granted. It is kept with the import, so that a later run knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.files.archive.sports import sport_words


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """What may be said of an archive that it does not say itself.

    ``sports``: words of its language, such as ``Corsa=Run``. ``timezone``: of activities for which neither device nor
    neighbour tells one, such as ``Europe/Rome``. ``taken``: the day of the export. ``trust_athlete``: an archive
    without a profile is the athlete's. ``check``: checksums of FIT are verified.
    ``ConfigurationError`` for a sport that Strava lacks, or an unknown zone.
    """

    sports: tuple[str, ...] = ()
    timezone: str | None = None
    taken: date | None = None
    trust_athlete: bool = False
    check: bool = False

    def __post_init__(self) -> None:
        sport_words(self.sports)
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ConfigurationError(
                    f"{self.timezone} is no time zone: write it as Europe/Rome, by the names of"
                    " https://www.iana.org/time-zones"
                ) from None

    @cached_property
    def sport_words(self) -> dict[str, str]:
        """The overrides for :meth:`.ActivityTable.rows`."""
        return sport_words(self.sports)

    @property
    def taken_at(self) -> datetime | None:
        """The end of the day of the export (UTC)."""
        return None if self.taken is None else datetime.combine(self.taken, time.max, UTC)

    def to_json(self) -> dict[str, Any]:
        """Return the options as the import's row keeps them."""
        return {
            "sports": list(self.sports),
            "timezone": self.timezone,
            "taken": None if self.taken is None else self.taken.isoformat(),
            "trust_athlete": self.trust_athlete,
            "check": self.check,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the options of which :meth:`to_json` made ``kept``; what it lacks is not asked for."""
        taken = kept.get("taken")
        return cls(
            sports=tuple(kept.get("sports") or ()),
            timezone=kept.get("timezone"),
            taken=None if taken is None else date.fromisoformat(taken),
            trust_athlete=bool(kept.get("trust_athlete")),
            check=bool(kept.get("check")),
        )
