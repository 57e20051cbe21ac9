"""Asks Dagster for runs of ours that failed, and why: by GraphQL, without a sensor, which would see a host's jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from strava_pipeline.months import month_text
from strava_pipeline.names import (
    ATHLETE,
    JOB_TAG,
    MONTH,
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    WILL_RETRY_TAG,
    Job,
    Names,
    athlete_of_key,
    month_of_key,
)
from strava_pipeline.notifications.wording import shown
from strava_pipeline.our_runs import DEAD_EVENTS, is_our_run
from strava_pipeline.redaction import redact
from strava_pipeline.watch.failed_run_words import RunFailure
from webhook_bridge.dagster_api import assets_of_run, tags_of_run
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, ask
from webhook_bridge.place import Place

PAGE = 200
# Fifty pages: more failed runs than anybody reads of.
MOST_PAGES = 50
EVENTS_PAGE = 1000
MOST_EVENT_PAGES = 20
LONGEST_REASON = 300
# Dagster notes right after a run's end whether it executes the run once more.
TAGGED_AFTER_SECONDS = 120.0
_FAILED = """
query Failed($params: RunsFilter!, $cursor: String, $limit: Int!) {
  answer: runsOrError(filter: $params, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs { results { runId jobName updateTime tags { key value }
      assetSelection { path } assetCheckSelection { assetKey { path } } } }
    ... on Error { message }
  }
}
"""
_ERROR = "message className cause { message className cause { message className } }"
_EVENTS = f"""
query Events($params: ID!, $cursor: String, $limit: Int!) {{
  answer: runOrError(runId: $params) {{
    __typename
    ... on Run {{ eventConnection(afterCursor: $cursor, limit: $limit) {{
      cursor hasMore
      events {{
        __typename
        ... on ExecutionStepFailureEvent {{
          error {{ {_ERROR} }} failureMetadata {{ description metadataEntries {{ label }} }} }}
        ... on RunFailureEvent {{ message error {{ {_ERROR} }} }}
      }} }} }}
    ... on Error {{ message }}
  }}
}}
"""


@dataclass(frozen=True)
class Why:
    """Why a run failed, in one line; ``is_told``: its events are dead letters, of which an alert tells."""

    reason: str
    is_told: bool = False


def failed_since(dagster: DagsterServer, since: datetime, moment: datetime) -> list[RunFailure]:
    """Return the runs of ours that failed after ``since`` and are not executed once more, in the order of their ends.

    ``moment``: now (both UTC). Their reasons are left out. ``DagsterUnavailable``.
    """
    place = find_place(dagster)
    params = {"statuses": ["FAILURE"], "updatedAfter": since.timestamp()}
    found = [run for page in _pages(dagster, params) for run in page if _is_to_tell(place, run, moment)]
    return sorted((_failure(place.names, run) for run in found), key=lambda run: run.ended_at)


def why_failed(dagster: DagsterServer, run_id: str) -> Why:
    """Return why a run failed; no reason if Dagster does not know the run any more. ``DagsterUnavailable``."""
    failures = list(_failures(dagster, run_id))
    steps = [event for event in failures if event["__typename"] == "ExecutionStepFailureEvent"]
    last = (steps or failures)[-1:]
    reason = shown(redact(_reason(last[0])), LONGEST_REASON) if last else ""
    return Why(reason, is_told=bool(steps) and all(map(_is_dead_letter, steps)))


def may_be_told(run: RunFailure) -> bool:
    """Whether the events of a run that failed may all be dead letters."""
    return run.what == Job.WEBHOOK_SYNC


def _pages(dagster: DagsterServer, params: Mapping[str, Any]) -> Iterator[list[Any]]:
    cursor = None
    for _ in range(MOST_PAGES):
        more = {"cursor": cursor, "limit": PAGE}
        page: list[Any] = ask(dagster, _FAILED, params, {"Runs"}, lambda answer: list(answer["results"]), more=more)
        yield page
        if len(page) < PAGE:
            return
        cursor = page[-1]["runId"]


def _is_to_tell(place: Place, run: Any, moment: datetime) -> bool:
    tags = tags_of_run(run)
    retries = tags.get(WILL_RETRY_TAG)
    is_settled = retries == "false" or (
        retries is None and moment.timestamp() - run["updateTime"] >= TAGGED_AFTER_SECONDS
    )
    return is_settled and is_our_run(place.names, assets_of_run(run), tags, is_own=place.is_own)


def _failure(names: Names, run: Any) -> RunFailure:
    tags = tags_of_run(run)
    ended_at = datetime.fromtimestamp(run["updateTime"], UTC)
    return RunFailure(run["runId"], _what(names, run, tags), ended_at, _athlete(names, tags), _months(tags))


def _what(names: Names, run: Any, tags: Mapping[str, str]) -> str:
    """The plain name of a run's job or, where it is Dagster's job of all assets, those of its assets."""
    keys = ["/".join(key["path"]) for key in run["assetSelection"] or ()]
    if run["jobName"] == Job.ASSETS and keys:
        return ", ".join(sorted(names.asset_of(key) or key for key in keys))
    return tags.get(JOB_TAG, str(run["jobName"]))


def _keys(tags: Mapping[str, str]) -> list[str]:
    return [tags[name] for name in (PARTITION_TAG, RANGE_START_TAG, RANGE_END_TAG) if name in tags]


def _athlete(names: Names, tags: Mapping[str, str]) -> int | None:
    telling = (names.athlete_tag, f"{PARTITION_TAG}/{ATHLETE}")
    named = {tags[name] for name in telling if name in tags} | set(map(athlete_of_key, _keys(tags)))
    ids = {int(name) for name in named if name.isascii() and name.isdecimal()}
    return ids.pop() if len(ids) == 1 else None


def _months(tags: Mapping[str, str]) -> str:
    named = {tags[name] for name in (f"{PARTITION_TAG}/{MONTH}",) if name in tags}
    months = sorted({month_text(month) for key in (*named, *_keys(tags)) if (month := month_of_key(key)) is not None})
    return " to ".join(dict.fromkeys((*months[:1], *months[-1:])))


def _failures(dagster: DagsterServer, run_id: str) -> Iterator[Any]:
    """The events of a run that tell a failure. Dagster gives a run's events from the first on, whatever they tell."""
    cursor = None
    for _ in range(MOST_EVENT_PAGES):
        more = {"cursor": cursor, "limit": EVENTS_PAGE}
        kinds = {"Run", "RunNotFoundError"}
        page: Any = ask(dagster, _EVENTS, run_id, kinds, lambda answer: answer.get("eventConnection"), more=more)
        if page is None:
            return
        yield from (event for event in page["events"] if len(event) > 1)
        if not page["hasMore"]:
            return
        cursor = page["cursor"]


def _is_dead_letter(event: Any) -> bool:
    entries = (event["failureMetadata"] or {}).get("metadataEntries") or ()
    return any(entry["label"] == DEAD_EVENTS for entry in entries)


def _reason(event: Any) -> str:
    """What the failure's author wrote, or the error that Dagster wrapped; its first line."""
    if description := (event.get("failureMetadata") or {}).get("description"):
        return str(description)
    error = event["error"]
    while error is not None and error["className"].startswith("Dagster") and error.get("cause"):
        error = error["cause"]
    words = event.get("message") if error is None else error["message"]
    return str(words or "").strip().partition("\n")[0]
