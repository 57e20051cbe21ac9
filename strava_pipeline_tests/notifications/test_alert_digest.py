"""What several alerts say together."""

from __future__ import annotations

from dataclasses import replace

from strava_pipeline.notifications.alert_digest import (
    LONGEST_SHORT_TEXT,
    Link,
    Mood,
    part_of,
    short_text,
    subject_of,
    worst_first,
)
from strava_pipeline_tests.notifications.alert_messages import AWAY, CLEARED, RECONNECT, RUN_FAILED


def test_the_subject_is_that_of_the_worst_and_counts_the_others() -> None:
    assert subject_of([AWAY]) == "Critical: Strava does not answer"
    assert subject_of([CLEARED, RECONNECT, AWAY]) == "Critical: Strava does not answer (and 2 more)"
    assert subject_of([CLEARED, RUN_FAILED]).startswith("Warning: A run failed")
    assert len(subject_of([replace(AWAY, subject="x" * 900), CLEARED])) < 200


def test_the_worst_is_read_first_and_else_what_happened_first() -> None:
    assert worst_first([CLEARED, RUN_FAILED, RECONNECT, AWAY]) == [AWAY, RUN_FAILED, RECONNECT, CLEARED]


def test_a_short_text_holds_whole_messages_and_counts_the_rest() -> None:
    text = short_text([AWAY, CLEARED])
    assert text.startswith("Critical: Strava does not answer\n- no answer")
    assert "Cleared (critical)" in text
    long = [replace(RUN_FAILED, body="why " * 200) for _ in range(20)]
    text = short_text(long)
    assert len(text) < LONGEST_SHORT_TEXT + 100
    assert text.endswith("And 17 more: see the page.")


def test_a_body_becomes_paragraphs_items_and_links() -> None:
    part = part_of(CLEARED)
    assert part.mood is Mood.CLEARED
    assert part.paragraphs == (("This is over. It was:",), ("- 2 dead letters",))
    assert part.links == (Link("Page", "https://bridge.example.org/"),)
    # The docs are not on the web: their line stays text.
    assert part_of(AWAY).paragraphs[-1] == ("More: docs/operations.md#strava-away",)
