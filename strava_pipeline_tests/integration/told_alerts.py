"""What people were told: each change of each alert, as the mails and the messages by Apprise tell it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.states import AlertChange, SendState
from strava_pipeline.watch.rules import RULES
from strava_pipeline_tests.integration.running_stack import RunningStack

NOBODY = 0
_BEGINNINGS = {
    AlertChange.FIRED: "(?:Critical|Warning): ",
    AlertChange.CLEARED: r"Cleared \((?:critical|warning)\): ",
    AlertChange.AGAIN: "(?:Critical|Warning), still on: ",
}
_ATHLETES = r"(?: \((?P<athletes>[0-9, ]+)\))?"
_COUNTED = re.compile(r"^And (\d+) more: see the page\.$", re.MULTILINE)
_BY_SUMMARY = {rule.summary: rule.name for rule in RULES}


class Change(NamedTuple):
    """A change of one alert; ``athlete_id`` is 0 where it concerns nobody in particular."""

    rule: str
    change: AlertChange
    athlete_id: int = NOBODY


def mailed(stack: RunningStack) -> Counter[Change]:
    """How often each change was told by mail."""
    bodies = [mail.get_body(("plain",)) for mail in stack.mails.mails]
    return _changes(body.get_content() for body in bodies if body is not None)


def pushed(stack: RunningStack) -> Counter[Change]:
    """How often each change was told through Apprise.

    A short text that tells of much only counts its last messages. So many that the outbox has as sent are believed,
    and no more.
    """
    texts = [json.loads(asked.body)["message"] for asked in [*stack.receiver.asked] if asked.method == "POST"]
    named = _changes(texts)
    counted = sum(int(number) for text in texts for number in _COUNTED.findall(text))
    unnamed, left = list[Counter[Change]](), named.copy()
    for message in _messages(stack, [SendState.SENT]):
        if message <= left:
            left -= message
        else:
            unnamed.append(message)
    return sum(unnamed, named) if len(unnamed) <= counted else named


def noted(stack: RunningStack) -> Counter[Change]:
    """How often each change was put into the outbox; nothing while the database is away."""
    return sum(_messages(stack, SendState), Counter[Change]())


def _messages(stack: RunningStack, states: Iterable[SendState]) -> list[Counter[Change]]:
    """What each message in the outbox tells whose push is in one of these states; none while the database is away."""
    query = (
        "SELECT rule, change, athlete_ids FROM ops.alert_messages WHERE rule IS NOT NULL AND push_state = ANY(:states)"
    )
    try:
        rows = stack.rows(query, states=[*states])
    except DatabaseUnavailable:
        return []
    return [Counter(Change(rule, AlertChange(change), each) for each in ids or [NOBODY]) for rule, change, ids in rows]


def _changes(texts: Iterable[str]) -> Counter[Change]:
    return Counter(change for text in texts for line in text.splitlines() for change in _told_by(line.strip()))


def _told_by(line: str) -> list[Change]:
    """The changes that a line tells, if it is the subject of a message."""
    for change, beginning in _BEGINNINGS.items():
        found = re.fullmatch(f"{beginning}(?P<summary>.+?){_ATHLETES}", line)
        if found is not None and found["summary"] in _BY_SUMMARY:
            athletes = map(int, (found["athletes"] or "0").split(", "))
            return [Change(_BY_SUMMARY[found["summary"]], change, athlete) for athlete in athletes]
    return []
