"""How alerts show in Dagster: each asset that some concern has a check for critical ones, and one for warnings.

One check for each rule would cost Dagster's storage ten times the rows, with each run that materializes the asset.
What a check tells does not change as long as the same alerts are on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strava_pipeline.warehouse.states import Severity
from strava_pipeline.warehouse.watch.alerts import NOBODY, StandingAlert
from strava_pipeline.watch.rules import RULES, RULES_BY_NAME

# The name of the metadata that lists the alerts.
ALERTS: Final = "alerts"
CHECK_NAMES: Final = {Severity.CRITICAL: "no_critical_alert", Severity.WARNING: "no_warning"}
# The asset and the severity of each check.
ALERT_CHECKS: Final = tuple(sorted({(rule.asset, rule.severity) for rule in RULES}))
_MOST_ATHLETES = 25


@dataclass(frozen=True)
class AlertCheck:
    """What one check says: ``told`` lists the alerts that are on, and is empty where none is."""

    asset: str
    severity: Severity
    told: str

    @property
    def name(self) -> str:
        return CHECK_NAMES[self.severity]

    @property
    def passed(self) -> bool:
        return not self.told

    @property
    def dagsters_severity(self) -> str:
        """The severity in Dagster's words."""
        return "ERROR" if self.severity is Severity.CRITICAL else "WARN"


def alert_checks(standing: Iterable[StandingAlert]) -> list[AlertCheck]:
    """Return what each check says while these alerts are on."""
    athletes: dict[str, list[int]] = {}
    for alert in standing:
        athletes.setdefault(alert.rule, []).append(alert.athlete_id)
    return [AlertCheck(asset, severity, _told(asset, severity, athletes)) for asset, severity in ALERT_CHECKS]


def _told(asset: str, severity: Severity, athletes: dict[str, list[int]]) -> str:
    on = [rule for name in athletes if (rule := RULES_BY_NAME.get(name)) is not None]
    lines = [
        f"{rule.name}: {rule.summary}{_whom(athletes[rule.name])}"
        for rule in on
        if (rule.asset, rule.severity) == (asset, severity)
    ]
    return "; ".join(sorted(lines))


def _whom(athlete_ids: list[int]) -> str:
    ids = sorted(number for number in athlete_ids if number != NOBODY)
    more = f" and {len(ids) - _MOST_ATHLETES} more" if len(ids) > _MOST_ATHLETES else ""
    return f" ({', '.join(map(str, ids[:_MOST_ATHLETES]))}{more})" if ids else ""
