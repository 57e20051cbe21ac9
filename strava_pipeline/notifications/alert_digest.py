"""What is told about several alerts together: one subject, and one text for mails and for short messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from strava_pipeline.notifications.wording import shown
from strava_pipeline.warehouse.states import AlertChange, Severity

LONGEST_SUBJECT = 150
# Characters. Services cut longer texts, or refuse them.
LONGEST_SHORT_TEXT = 3000
_LINK = re.compile(r"(?P<label>[A-Z][a-z]+): (?P<url>https?://\S+)")
_ITEM = "- "


class Message(Protocol):
    """A message about an alert: ``subject`` is one line; ``body`` has paragraphs, and items that begin with a dash."""

    @property
    def change(self) -> AlertChange: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...


class Mood(StrEnum):
    """How bad a message is, the worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    TEST = "test"
    CLEARED = "cleared"


@dataclass(frozen=True)
class Link:
    """A line of a body that leads somewhere."""

    label: str
    url: str


@dataclass(frozen=True)
class Part:
    """One message of a digest for a page: its paragraphs, each a list of items or of lines, and its links."""

    mood: Mood
    subject: str
    paragraphs: tuple[tuple[str, ...], ...]
    links: tuple[Link, ...]


def mood_of(message: Message) -> Mood:
    """Return how bad a message is."""
    if message.change is AlertChange.CLEARED:
        return Mood.CLEARED
    if message.change is AlertChange.TEST:
        return Mood.TEST
    return Mood.CRITICAL if message.severity is Severity.CRITICAL else Mood.WARNING


def worst_first(messages: Iterable[Message]) -> list[Message]:
    """Return the messages in the order in which they are to be read."""
    moods = list(Mood)
    return sorted(messages, key=lambda message: moods.index(mood_of(message)))


def subject_of(messages: Sequence[Message]) -> str:
    """Return the subject of a digest: that of its worst message, and how many more there are."""
    first, *others = worst_first(messages)
    subject = shown(first.subject, LONGEST_SUBJECT)
    return f"{subject} (and {len(others)} more)" if others else subject


def short_text(messages: Sequence[Message]) -> str:
    """Return the text for services of short messages; whole messages that do not fit are counted."""
    told = [f"{message.subject}\n{message.body}".strip() for message in worst_first(messages)]
    kept = told[:1]
    for text in told[1:]:
        if len("\n\n".join((*kept, text))) > LONGEST_SHORT_TEXT:
            break
        kept.append(text)
    more = [f"And {len(told) - len(kept)} more: see the page."] if len(kept) < len(told) else []
    return "\n\n".join((*kept, *more))


def part_of(message: Message) -> Part:
    """Return a message as a page shows it."""
    lines = message.body.split("\n")
    links = tuple(Link(**found.groupdict()) for line in lines if (found := _LINK.fullmatch(line)))
    text = [line for line in lines if not _LINK.fullmatch(line)]
    return Part(mood_of(message), message.subject, tuple(_paragraphs(text)), links)


def _paragraphs(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The lines between empty lines, items apart from what stands before and after them."""
    paragraph: list[str] = []
    for line in (*lines, ""):
        is_item = line.startswith(_ITEM)
        if paragraph and (not line or is_item != paragraph[-1].startswith(_ITEM)):
            yield tuple(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
