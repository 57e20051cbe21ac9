"""CSV for spreadsheets holds nothing that they compute; exact CSV holds what is stored."""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strava_pipeline.cli.rows import PRINTERS
from strava_pipeline.spreadsheet_cells import safe_cell

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://evil.example")',
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "  \xa0=1+1",
        "\u3000=1+1",
        "\u200b=1+1",
        "\ufeff=1+1",
        "\u202e=1+1",
        "\uff1d1+1",
        "\uff0b1+1",
        "\uff0d1+1",
        "\uff20SUM(1)",
        "\ufe661+1",
        "\ufe62A1",
        "\u22121+A1",
        "-",
        "=",
        "-1-1",
        "+1.5e",
        "-1;2",
        "{=1+1}",
        "(=1",
        "('@SUM(1)",
        "\u2800=1",
        "\U0001d159=1",
        "\u2003\u2800(+1+A1",
        "\u0301=1",
        "\u201e=1",
        "\u00ab-A1",
        "\u207c1",
        "\ufe6bSUM(1)",
    ],
)
def test_what_looks_like_a_formula_begins_with_an_apostrophe(text: str) -> None:
    shown = safe_cell(text)
    assert shown.startswith("'")
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x;=1+1", "x;'=1+1"),
        ('x; "@SUM(1)', "x; \"'@SUM(1)"),
        ("x;\uff1d1", "x;'\uff1d1"),
        ('a;= HYPERLINK("http://evil")', 'a;\'= HYPERLINK("http://evil")'),
        ("a;@ SUM(1)", "a;'@ SUM(1)"),
        ("a;+ 1", "a;'+ 1"),
        ("a;- 1+cmd", "a;'- 1+cmd"),
        ("a;=)+1", "a;'=)+1"),
        ("a;-)+1", "a;'-)+1"),
        (";(=1", ";('=1"),
        ("a;{=1}", "a;{'=1}"),
        ("a,=1", "a,'=1"),
        ("a, \u2800+A1", "a, \u2800'+A1"),
        ("a\t;\t=1", "a ; '=1"),
        ('"=1', "\"'=1"),
        ('a"=1', "a\"'=1"),
        ("a|-A1;@b", "a|'-A1;'@b"),
        ("a;\ufe0f=1", "a;\ufe0f'=1"),
        ("a\uff1b=1", "a\uff1b'=1"),
        ("a\u037e=1", "a\u037e'=1"),
        ("-1;=2", "'-1;'=2"),
        ("a;-1+2", "a;'-1+2"),
        ("a;;=1", "a;;'=1"),
    ],
)
def test_no_separator_within_a_text_begins_a_cell_with_a_formula(text: str, shown: str) -> None:
    assert safe_cell(text) == shown


@pytest.mark.parametrize(
    "value", [-5, 1.5, -1.5e-7, Decimal("-1.50"), True, float("-inf"), "-6", "+1.5", "-1e-7", "12"]
)
def test_numbers_stay_numbers(value: Any) -> None:
    assert safe_cell(value) == value


@pytest.mark.parametrize(
    "text",
    [
        "Morning ride",
        "1-2-3",
        "a=b",
        "me@example.org",
        "5 + 5",
        "Zoë 🚴",
        "'quoted'",
        "",
        "Ride ;-)",
        ";-) nice",
        "a; b - c",
        "a; b",
        "10:00-11:00; 5",
        "it's -5 °C",
        "48.1,-11.5",
        "48.1, -11.5; +3",
        "[-1, 2, -3.5]",
        "f (=g)",
        '{"a": -1, "b": [-2, -3]}',
        "a, b (c), d",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text


@given(TEXTS)
def test_no_text_is_more_than_one_harmless_line(text: str) -> None:
    shown = safe_cell(text)
    assert shown.isprintable()
    begins = shown.lstrip()[:1]
    assert begins not in set("=@\uff1d\uff20")
    assert begins not in set("+-") or not shown.strip("+-.eE0123456789")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(TEXTS, min_size=1, max_size=3), data=st.data())
def test_exact_csv_comes_back_as_it_was(
    capsys: pytest.CaptureFixture[str], names: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=len(names), max_size=len(names)), max_size=3))
    PRINTERS["csv-exact"](names, rows)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [names, *rows]


def test_the_header_is_safe_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    PRINTERS["csv"](["=1+1", "a\x1b[2J"], [["+1", None]])
    assert capsys.readouterr().out == "'=1+1,a\ufffd[2J\n+1,\n"


def test_every_form_of_a_sign_is_known() -> None:
    for char in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.normalize("NFKC", char)[:1] in set("=+-@\u2212"):
            assert safe_cell(f"{char}A1").startswith("'"), hex(ord(char))
            assert f"'{char}" in safe_cell(f"x; ({char}A1")


def test_every_form_of_a_separator_is_known() -> None:
    for char in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.normalize("NFKC", char) in set(';,|"'):
            assert safe_cell(f"x{char}=A1").endswith("'=A1"), hex(ord(char))
