"""Messages about alerts, as rules make them."""

from __future__ import annotations

from dataclasses import dataclass

from strava_pipeline.warehouse.states import AlertChange, Severity


@dataclass(frozen=True)
class MadeMessage:
    """What a message holds."""

    change: AlertChange
    severity: Severity
    subject: str
    body: str


AWAY = MadeMessage(
    AlertChange.FIRED,
    Severity.CRITICAL,
    "Critical: Strava does not answer",
    "- no answer to 12 calls (since 2026-03-01 11:40 UTC)\n"
    "\n"
    "It fires when Strava's API has answered nobody for 15 minutes.\n"
    "\n"
    "What to do: see https://status.strava.com. Nothing is lost: events wait.\n"
    "\n"
    "Page: https://bridge.example.org/\n"
    "More: docs/operations.md#strava-away",
)
RECONNECT = MadeMessage(
    AlertChange.FIRED,
    Severity.WARNING,
    "Warning: An athlete must connect again (1001, 1002)",
    "- athlete 1001: grant is void\n- athlete 1002: grant is <void>\n\nPage: https://bridge.example.org/",
)
CLEARED = MadeMessage(
    AlertChange.CLEARED,
    Severity.CRITICAL,
    "Cleared (critical): Webhook events were given up",
    "This is over. It was:\n- 2 dead letters\n\nPage: https://bridge.example.org/",
)
RUN_FAILED = MadeMessage(
    AlertChange.RUN_FAILED,
    Severity.WARNING,
    "Warning: A run failed: import_history of athlete 1001",
    "- import_history, athlete 1001, 2024-05 to 2024-06: out of memory\n\nRun: http://127.0.0.1:3000/runs/3f2a",
)
