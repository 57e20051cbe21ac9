"""The metrics of the tables as they are declared: name, meaning and labels of each; ``table_metrics`` reads them."""

from __future__ import annotations

from typing import Final

from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.finished_rows import CALL_BUCKETS, CALL_RESULTS, ENDPOINTS, EVENT_BUCKETS, EVENT_RESULTS
from strava_pipeline.warehouse.states import (
    ENDED_MAIL_STATES,
    OPEN_STATES,
    ErrorClass,
    EventSource,
    EventState,
    GrantState,
    MailKind,
    PutAside,
    WaitingFor,
)
from strava_pipeline.warehouse.watch.counts import IMPORT_STATES, WINDOWS
from strava_pipeline.watch.families import Family, Kind, every
from strava_pipeline.watch.rules import RULES

OPERATIONS = (
    *every(("exchange",), ("ok", "failed")),
    *every(("refresh",), ("ok", "adopted", "failed")),
    *every(("revoke",), ("ok", "ended before", "failed")),
    *every(("erase", "rotate"), ("ok",)),
)
MAILS = "mails"
INBOX_STATES = (*OPEN_STATES, EventState.PARKED, EventState.DEAD, EventState.DISCARDED)
_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

CALLS: Final = Family(
    _COUNTER,
    "api_calls",
    "Calls to Strava that have ended, by endpoint, lane and class of the answer.",
    ("endpoint", "lane", "result"),
    every(ENDPOINTS, tuple(Lane), CALL_RESULTS),
)
CALL_SECONDS: Final = Family(
    _HISTOGRAM,
    "api_call_seconds",
    "Time from sending a call to Strava's whole answer, of calls that were answered.",
    ("endpoint",),
    every(ENDPOINTS),
    CALL_BUCKETS,
)
TOKENS: Final = Family(
    _COUNTER,
    "token_operations",
    "Operations on tokens, refreshes among them, by outcome.",
    ("operation", "outcome"),
    OPERATIONS,
)
EVENTS: Final = Family(
    _COUNTER,
    "events",
    "Events that have ended, by source: delivered by a webhook, or found by upkeep (reconcile), so that Strava never"
    " delivered it.",
    ("source", "result"),
    every(tuple(EventSource), EVENT_RESULTS),
)
EVENT_SECONDS: Final = Family(
    _HISTOGRAM,
    "event_to_done_seconds",
    "Time from when something happened at Strava until the tables had it.",
    ("source",),
    every(tuple(EventSource)),
    EVENT_BUCKETS,
)
RECEIPT_SECONDS: Final = Family(
    _HISTOGRAM,
    "receipt_to_done_seconds",
    "Time from an event's receipt until the tables had it.",
    ("source",),
    every(tuple(EventSource)),
    EVENT_BUCKETS,
)
DEATHS: Final = Family(
    _COUNTER,
    "dead_letters",
    "How often events were given up, by class of the error; one that is replayed may be given up again.",
    ("class",),
    every(tuple(ErrorClass)),
)
MAILS_ENDED: Final = Family(
    _COUNTER,
    "mails",
    "Mails to athletes that were sent, given up or skipped.",
    ("kind", "result"),
    every(tuple(MailKind), ENDED_MAIL_STATES),
)
QUOTA_LIMIT: Final = Family(
    _GAUGE,
    "quota_limit_calls",
    "Calls that Strava's current windows take: reads, and all, where Strava names such a limit; where each athlete has"
    " limits of their own, the sum over those in use.",
    ("window", "kind"),
)
QUOTA_USED: Final = Family(
    _GAUGE,
    "quota_used_calls",
    "Calls that count in the current windows, also those of other programs.",
    ("window", "kind"),
)
QUOTA_SCOPES: Final = Family(
    _GAUGE, "quota_scopes", "How many windows the figures of the quota are summed over.", ("window",), every(WINDOWS)
)
QUOTA_BLOCKED: Final = Family(
    _GAUGE, "quota_blocked_scopes", "How many of these windows a 429 has closed.", ("window",), every(WINDOWS)
)
QUOTA_END: Final = Family(
    _GAUGE,
    "quota_window_end_timestamp_seconds",
    "When the current window ends, by Strava's clock.",
    ("window",),
)
ATHLETES: Final = Family(_GAUGE, "athletes", "Athletes by state of their grant.", ("state",), every(tuple(GrantState)))
ERASURES: Final = Family(_GAUGE, "erasures", "Athletes whose data are being deleted.", (), ((),))
INBOX: Final = Family(
    _GAUGE, "inbox_events", "Events in the inbox by state, without those done.", ("state",), every(INBOX_STATES)
)
WAITING: Final = Family(
    _GAUGE,
    "waiting_events",
    "Events that are not due yet, by what they wait for.",
    ("waiting_for",),
    every(tuple(WaitingFor)),
)
DEAD: Final = Family(
    _GAUGE,
    "inbox_dead_letters",
    "Dead letters that are there now, by class of the error.",
    ("class",),
    every(tuple(ErrorClass)),
)
OLDEST_OPEN: Final = Family(
    _GAUGE, "oldest_open_event_timestamp_seconds", "When the first event that has yet to take effect arrived."
)
LAST_EVENT: Final = Family(_GAUGE, "last_event_timestamp_seconds", "When the last event arrived.")
IMPORTS: Final = Family(
    _GAUGE,
    "imports",
    "Imports by state: due, launched, running, paused, or at rest: complete, or until a later try.",
    ("state",),
    every(IMPORT_STATES),
)
IMPORTS_END: Final = Family(
    _GAUGE,
    "imports_end_timestamp_seconds",
    "When the last of the imports and backfills under way may be complete, as estimated.",
)
MAILS_PENDING: Final = Family(
    _GAUGE, "pending_mails", "Mails to athletes that have yet to be sent.", ("kind",), every(tuple(MailKind))
)
ALERT_MESSAGES: Final = Family(
    _GAUGE, "pending_alert_messages", "Messages about alerts that have yet to be sent.", (), ((),)
)
SUCCEEDED: Final = Family(
    _GAUGE,
    "last_success_timestamp_seconds",
    "When a job last ended as it should, or the last mail was sent; upkeep, lake, checks and mails run only if"
    " something is due.",
    ("task",),
)
AWAY: Final = Family(
    _GAUGE, "strava_away", "1 while Strava's API, or its OAuth, answers nobody.", ("service",), every(tuple(Service))
)
AWAY_SINCE: Final = Family(_GAUGE, "strava_away_since_timestamp_seconds", "Since when it answers nobody.", ("service",))
INACTIVE: Final = Family(_GAUGE, "app_inactive", "1 while Strava has the app switched off.", (), ((),))
INACTIVE_SINCE: Final = Family(
    _GAUGE, "app_inactive_since_timestamp_seconds", "Since when Strava has the app switched off."
)
ALERTS: Final = Family(
    _GAUGE,
    "alert_subjects",
    "Alerts that are on, by rule: athletes, or 1 where the rule concerns nobody in particular.",
    ("rule", "severity"),
    tuple((rule.name, rule.severity.value) for rule in RULES),
)
RESERVE: Final = Family(
    _GAUGE,
    "quota_reserve_calls",
    "Calls of the current windows that are kept for events.",
    ("window",),
    every(WINDOWS),
)
MONTHS_LEFT: Final = Family(
    _GAUGE,
    "import_months_left",
    "Months of athletes that lacked, at their last check, details or samples that an import wants.",
    (),
    ((),),
)
PUT_ASIDE: Final = Family(
    _GAUGE, "put_aside_activities", "Activities that could not be stored so far.", ("kind",), every(tuple(PutAside))
)
UPKEEP_DUE: Final = Family(_GAUGE, "upkeep_due_tasks", "Tasks of upkeep that are due.", (), ((),))
UPKEEP_FAILING: Final = Family(
    _GAUGE, "upkeep_failing_tasks", "Tasks of upkeep that failed several times in a row.", (), ((),)
)
UPKEEP_SINCE: Final = Family(
    _GAUGE, "upkeep_due_since_timestamp_seconds", "Since when the oldest task of upkeep that is due has been due."
)
UPKEEP_NEED: Final = Family(
    _GAUGE, "upkeep_needed_calls_per_day", "Calls a day with which upkeep would serve everybody in time.", (), ((),)
)
UPKEEP_SHARE: Final = Family(
    _GAUGE, "upkeep_share_calls_per_day", "Calls a day that upkeep may send on a busy day.", (), ((),)
)

# Read each time, or less often, in the order in which they are shown.
QUICK: Final = (
    *(CALLS, CALL_SECONDS, TOKENS, EVENTS, EVENT_SECONDS, RECEIPT_SECONDS, DEATHS, MAILS_ENDED),
    *(QUOTA_LIMIT, QUOTA_USED, QUOTA_SCOPES, QUOTA_BLOCKED, QUOTA_END, ATHLETES, ERASURES),
    *(INBOX, WAITING, DEAD, OLDEST_OPEN, LAST_EVENT, IMPORTS, IMPORTS_END, MAILS_PENDING, ALERT_MESSAGES),
    *(SUCCEEDED, AWAY, AWAY_SINCE, INACTIVE, INACTIVE_SINCE, ALERTS),
)
SLOW: Final = (
    *(RESERVE, MONTHS_LEFT, PUT_ASIDE),
    *(UPKEEP_DUE, UPKEEP_FAILING, UPKEEP_SINCE, UPKEEP_NEED, UPKEEP_SHARE),
)
