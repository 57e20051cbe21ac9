"""The shipped Grafana dashboards; macros and variables are replaced as Grafana does, here and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARDS = FOLDER / "dashboards"
_TIME_FILTER = re.compile(r"\$__timeFilter\(([^)]*)\)")
_SQL_STRING = re.compile(r"\$\{(\w+):sqlstring\}")


@dataclass(frozen=True)
class Target:
    """A query of a panel."""

    panel: str
    type: str
    query: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.panel} {self.query['refId']}"


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's file, and what it holds."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text)
        return document

    @property
    def panels(self) -> Iterator[dict[str, Any]]:
        """All panels but the rows, those of closed rows included."""
        for panel in self.document["panels"]:
            if panel["type"] == "row":
                yield from panel["panels"]
            else:
                yield panel

    @property
    def targets(self) -> list[Target]:
        return [
            Target(panel["title"], panel["type"], query) for panel in self.panels for query in panel.get("targets", ())
        ]

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return {variable["name"]: variable for variable in self.document["templating"]["list"]}


ATHLETES = Dashboard(DASHBOARDS / "athletes.json")
OPERATOR = Dashboard(DASHBOARDS / "operator.json")
ALL = tuple(Dashboard(path) for path in sorted(DASHBOARDS.glob("*.json")))


def sql_of(text: str, start: datetime, end: datetime, chosen: Mapping[str, str | Sequence[str]]) -> str:
    """Return the SQL that Grafana sends for the time from ``start`` to ``end`` (UTC) and the ``chosen`` values."""
    begin, finish = (f"'{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" for at in (start, end))
    text = _SQL_STRING.sub(lambda found: _quoted(chosen[found[1]]), text)
    text = _TIME_FILTER.sub(lambda found: f"{found[1]} BETWEEN {begin} AND {finish}", text)
    text = text.replace("$__timeFrom()", begin).replace("$__timeTo()", finish)
    return _without_dollar(text)


def promql_of(text: str, chosen: Mapping[str, str], rate_interval: str, over: str) -> str:
    """Return the expression that Grafana sends for the ``chosen`` values; ``over``: the length of the chosen time."""
    text = text.replace("$__rate_interval", rate_interval).replace("$__range", over)
    for name, value in chosen.items():
        text = re.sub(rf"\${name}\b", value, text)
    return _without_dollar(text)


def _quoted(chosen: str | Sequence[str]) -> str:
    values = [chosen] if isinstance(chosen, str) else chosen
    return ",".join("'" + value.replace("'", "''") + "'" for value in values)


def _without_dollar(text: str) -> str:
    assert "$" not in text, f"a macro or variable that is not known here: {text}"
    return text
