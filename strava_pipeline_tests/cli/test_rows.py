"""CSV for spreadsheets holds nothing that they compute; exact CSV holds what is stored."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strava_pipeline.cli.rows import PRINTERS, safe_cell

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
        ("Ride ;-)", "Ride ;-)"),
        ("a; b - c", "a; b - c"),
    ],
)
def test_a_semicolon_begins_no_cell_with_a_formula(text: str, shown: str) -> None:
    assert safe_cell(text) == shown


@pytest.mark.parametrize(
    "value", [-5, 1.5, -1.5e-7, Decimal("-1.50"), True, float("-inf"), "-6", "+1.5", "-1e-7", "12"]
)
def test_numbers_stay_numbers(value: Any) -> None:
    assert safe_cell(value) == value


@pytest.mark.parametrize("text", ["Morning ride", "1-2-3", "a=b", "me@example.org", "5 + 5", "Zoë 🚴", "'quoted'", ""])
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
