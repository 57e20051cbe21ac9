"""Text from outside becomes one line that can be stored, and that does nothing to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from strava_pipeline.printable import MOST_CHARACTERS, printable
from strava_pipeline.warehouse.operator_audit import LONGEST_SUBJECT, Actor, note_action
from strava_pipeline.warehouse.ops_tables import operator_audit, token_audit
from strava_pipeline.warehouse.token_audit import audit

ODD = "a\0b\nc\x1b[2Jd\u202ee\ud800f\x9bg\u2028h"


@given(st.text(), st.integers(10, 100))
def test_whatever_it_is_it_can_be_stored(text: str, most: int) -> None:
    found = printable(text, most)
    assert found.isprintable()
    assert len(found) <= most
    found.encode()


@pytest.mark.parametrize("text", ["", "Mira Holm", "Zürich, 10 % hills", "ボルダー", "scopes read,activity:read_all"])
def test_what_is_fit_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_each_odd_character_is_a_blank_and_what_is_too_long_is_cut() -> None:
    assert printable(ODD) == "a b c [2Jd e f g h"
    assert printable("x" * 14_000) == "x" * (MOST_CHARACTERS - 3) + "..."


def test_audits_take_any_text(engine: Engine) -> None:
    with engine.begin() as connection:
        for text in (ODD, "x" * 14_000):
            note_action(connection, Actor.OPERATOR, "login", text, detail=text)
            audit(connection, None, "exchange", "failed", text)
        rows = connection.execute(select(operator_audit.c.subject, operator_audit.c.detail)).all()
        details = connection.execute(select(token_audit.c.detail)).scalars().all()
    assert rows[0] == (printable(ODD), printable(ODD))
    assert [len(text) for text in rows[1]] == [LONGEST_SUBJECT, MOST_CHARACTERS]
    assert details == [printable(ODD), printable("x" * 14_000)]
