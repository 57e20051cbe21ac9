"""Texts of others as one bounded line that no terminal obeys."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from strava_pipeline.printable import ELLIPSIS, LONGEST, MARK, printable, printable_json, printable_lines
from strava_pipeline.warehouse.access.operator_audit import LONGEST_SUBJECT, Actor, note_action
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import token_audit
from strava_pipeline.warehouse.tokens.token_audit import audit

ORDINARY = (
    "Zoë Ångström",
    "Đặng Thị Thảo",
    "Мария Ёлкина",
    "שָׁלוֹם",
    "محمّد الرياضي",
    "نیم\u200cفاصله",  # noqa: RUF001  Persian, with the joiner it needs
    "क्\u200dष",
    "葛\U000e0100飾区",  # a name with its own form of a character
    "김철수 🚴🏽\u200d♀️ 👨\u200d👩\u200d👧 ❤️\u200d🔥 🇨🇭 1️⃣",
)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_international_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07ride", f"{MARK}]0;title{MARK}ride"),
        ("\x1b[2Jride", f"{MARK}[2Jride"),
        ("\x9b31mride", f"{MARK}31mride"),
        ("del\x7f nul\x00", f"del{MARK} nul{MARK}"),
        ("a\r\nb\tc\vd\fe\x85f\u2028g\u2029h\xa0i", "a  b c d e f g h i"),
        ("\u202etxt\u202c \u2066x\u2069 \u200eleft\u200f \u061cx", "txt x left x"),
        ("zero\u200bwidth\ufeff\u2060\u00ad", "zerowidth"),
        ("tags\U000e0041\U000e0042", "tags"),
        ("a\u200db\u200cc", "abc"),
        ("\u200d🚴\u200d", "🚴"),
        ("🚴\ufe0f\ufe0e\U000e0101\U000e0102", "🚴\ufe0f"),
        ("\ufe0ffirst", "first"),
        ("filler\u3164\u115f\uffa0\u034f", "filler"),
        ("half\ud800 own\ue000 none\U0005fffe", f"half{MARK} own{MARK} none{MARK}"),
    ],
)
def test_what_a_terminal_obeys_or_nobody_sees_goes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_character_alone_is_printable_or_gone() -> None:
    for number in range(sys.maxunicode + 1):
        shown = printable(f"a{chr(number)}b")
        assert shown.isprintable(), hex(number)


@given(st.text(st.characters()), st.integers(1, 40))
def test_it_is_bounded_and_once_more_changes_nothing(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert len(shown) <= longest
    assert printable(shown, longest) == shown
    assert all(unicodedata.category(char) not in {"Cc", "Cs", "Cn", "Co", "Zl", "Zp"} for char in shown)


def test_a_long_text_ends_in_an_ellipsis() -> None:
    assert printable("ride " * 100, 10) == f"ride ride{ELLIPSIS}"


def test_lines_stay_lines_and_only_those() -> None:
    assert printable_lines("one\x1b[1m\rover\n  two\u2028x") == f"one{MARK}[1m over\n  two x"


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_json_is_exact_and_holds_nothing_a_terminal_obeys(value: dict[str, str]) -> None:
    shown = printable_json(value)
    assert json.loads(shown) == value
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_audits_take_any_text(engine: Engine) -> None:
    odd = "a\0b\nc\x1b[2Jd\u202ee\ud800f\x9bg\u2028h"
    with engine.begin() as connection:
        for text in (odd, "x" * 14_000):
            note_action(connection, Actor.OPERATOR, "login", text, detail=text)
            audit(connection, None, "exchange", "failed", text)
        rows = connection.execute(select(operator_audit.c.subject, operator_audit.c.detail)).all()
        details = connection.execute(select(token_audit.c.detail)).scalars().all()
    assert rows[0] == (printable(odd), printable(odd))
    assert [len(text) for text in rows[1]] == [LONGEST_SUBJECT, LONGEST]
    assert details == [printable(odd), printable("x" * 14_000)]
