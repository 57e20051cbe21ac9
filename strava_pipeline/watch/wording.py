"""The words of messages about alerts: a subject of one line, and a body with what to do and links."""

from __future__ import annotations

import re
from collections.abc import Iterator

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import AlertChange
from strava_pipeline.warehouse.watch.alert_rows import Alert, NewMessage
from strava_pipeline.warehouse.watch.alerts import NOBODY
from strava_pipeline.watch.alerting import News
from strava_pipeline.watch.rules import DOCS, Rule

# A message with more lines is not read.
MOST_ATHLETES = 25
_SHOWN_IN_SUBJECT = 3
_RUN = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def message_of(news: News, settings: Settings) -> NewMessage:
    """Return the message about a change of a rule's alerts."""
    return NewMessage(
        change=news.change,
        severity=news.rule.severity,
        subject=_subject(news),
        body="\n".join(_body(news, settings)),
        rule=news.rule.name,
        athlete_ids=tuple(alert.athlete_id for alert in news.alerts if alert.athlete_id != NOBODY),
    )


def page_url(settings: Settings) -> str:
    """The address of the operator's page."""
    return f"{settings.bridge_public_url or f'http://127.0.0.1:{settings.bridge_port}'}/"


def _subject(news: News) -> str:
    level = news.rule.severity.capitalize()
    begins = {
        AlertChange.FIRED: f"{level}: ",
        AlertChange.AGAIN: f"{level}, still on: ",
        AlertChange.CLEARED: f"Cleared ({news.rule.severity}): ",
    }[news.change]
    return f"{begins}{news.rule.summary}{_whom(news)}"


def _whom(news: News) -> str:
    athletes = [str(alert.athlete_id) for alert in news.alerts if alert.athlete_id != NOBODY]
    if not athletes:
        return ""
    more = len(athletes) - _SHOWN_IN_SUBJECT
    return f" ({', '.join(athletes[:_SHOWN_IN_SUBJECT])}{f' and {more} more' if more > 0 else ''})"


def _body(news: News, settings: Settings) -> Iterator[str]:
    if news.change is AlertChange.CLEARED:
        yield "This is over. It was:"
    yield from (_line(alert) for alert in news.alerts[:MOST_ATHLETES])
    if len(news.alerts) > MOST_ATHLETES:
        yield f"- and {len(news.alerts) - MOST_ATHLETES} more"
    yield ""
    if news.change is not AlertChange.CLEARED:
        yield f"It fires when {news.rule.threshold}."
        yield ""
        yield f"What to do: {news.rule.what_to_do}"
        yield ""
    yield from _links(news, settings)


def _line(alert: Alert) -> str:
    whom = "" if alert.athlete_id == NOBODY else f"athlete {alert.athlete_id}: "
    return f"- {whom}{alert.detail} (since {alert.since:%Y-%m-%d %H:%M} UTC)"


def _links(news: News, settings: Settings) -> Iterator[str]:
    yield f"Page: {page_url(settings)}"
    runs = dict.fromkeys(run for alert in news.alerts[:MOST_ATHLETES] for run in _RUN.findall(alert.detail))
    yield from (f"Run: {settings.dagster_pages}/runs/{run}" for run in runs)
    yield f"More: {section_of(news.rule)}"


def section_of(rule: Rule) -> str:
    """The rule's section in the docs."""
    return f"{DOCS}#{rule.anchor}"
