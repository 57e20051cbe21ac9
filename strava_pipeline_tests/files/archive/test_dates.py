# ruff: noqa: RUF001  words of many scripts look alike
from __future__ import annotations

from datetime import UTC, datetime

import pytest

from strava_pipeline.files.archive.dates import parse_date
from strava_pipeline.files.archive.month_words import MONTH_OF, words

AFTERNOON = datetime(2026, 12, 8, 15, 4, 9, tzinfo=UTC)
MIDNIGHT = datetime(2026, 5, 21, 0, 4, 9, tzinfo=UTC)
# Medium date and time of CLDR 48, and forms of earlier years.
IN_THE_AFTERNOON = [
    "Dec 8, 2026, 3:04:09 PM", "Dec 8, 2026, 3:04:09\u202fPM", "8 Dec 2026, 15:04:09", "8 Dec 2026, 3:04:09 pm",
    "Dec 8, 2026, 3:04:09 p.m.", "08.12.2026, 15:04:09", "8 dic 2026, 15:04:09", "8 dic 2026, 3:04:09\u202fp.m.",
    "8 dic. 2026 3:04:09 p. m.", "8 déc. 2026, 15:04:09", "8 déc. 2026 à 15:04:09", "8 déc. 2026, 15 h 04 min 09 s",
    "08/dic/2026 15:04:09", "2026/12/08 15:04:09", "2026. 12. 8. 오후 3:04:09",
    "8 dec. 2026 15:04:09", "8 de dez. de 2026 15:04:09", "8 de dez de 2026, 15:04:09", "08/12/2026, 15:04:09",
    "8 дек. 2026 г., 15:04:09", "2026年12月8日 15:04:09", "2026年12月8日 下午3:04:09", "2026年12月8日 午後3:04:09",
    "8 Des 2026 15.04.09", "8. dec. 2026 15.04.09", "8. des. 2026, 15:04:09", "8. des. 2026 kl. 15:04:09",
    "8.12.2026 15.04.09", "8.12.2026 klo 15.04.09", "8 gru 2026, 15:04:09", "8. 12. 2026 15:04:09",
    "2026. dec. 8. 15:04:09", "8 Ara 2026 15:04:09", "15:04:09 8 thg 12, 2026", "15:04:09, 8 thg 12, 2026",
    "8 ธ.ค. 2569 15:04:09", "8 ธ.ค. 2026 15:04:09", "8 груд. 2026 р., 15:04:09", "8 Δεκ 2026, 3:04:09 μ.μ.",
    "8 בדצמ׳ 2026, 15:04:09", "08\u200f/12\u200f/2026، 3:04:09 م", "٠٨\u200f/١٢\u200f/٢٠٢٦، ٣:٠٤:٠٩ م",
    "۸ دسامبر ۲۰۲۶،\u200f ۱۵:۰۴:۰۹", "8 दिस॰ 2026, 3:04:09 pm", "८ डिसें, २०२६, ३:०४:०९ PM", "8 dec. 2026, 15:04:09",
    "8.12.2026 г., 15:04:09", "8 de des. 2026, 15:04:09", "8 Dis 2026, 3:04:09 PTG", "2026. gada 8. dec. 15:04:09",
    "2026-12-08 15:04:09", "2026(e)ko abe. 8(a) (15:04:09)", "2026-12-08T15:04:09Z", "2026-12-08 15:04:09 UTC",
    "2026-12-08T17:04:09+02:00", "DEC 8, 2026, 3:04:09 PM", "  Dec 8,  2026, 3:04:09\u00a0PM ",
]  # fmt: skip
AT_MIDNIGHT = [
    "May 21, 2026, 12:04:09 AM", "21 may 2026, 12:04:09\u202fa.m.", "21.05.2026, 00:04:09", "21 mai 2026, 00:04:09",
    "21 mag 2026, 00:04:09", "2026/05/21 0:04:09", "2026. 5. 21. 오전 12:04:09", "21 mei 2026, 00:04:09",
    "21 мая 2026 г., 00:04:09", "2026年5月21日 凌晨12:04:09", "2026年5月21日 上午12:04:09", "21. maj 2026 00.04.09",
    "21 maj 2026, 00:04:09", "2026. máj. 21. 0:04:09", "21 May 2026 00:04:09", "00:04:09 21 thg 5, 2026",
    "21 พ.ค. 2569 00:04:09", "21 Μαΐ 2026, 12:04:09 π.μ.", "21 במאי 2026, 0:04:09",
    "21\u200f/05\u200f/2026، 12:04:09 ص",
    "21 मई 2026, 12:04:09 am", "21 Mei 2026, 12:04:09 PG",
]  # fmt: skip


@pytest.mark.parametrize("text", IN_THE_AFTERNOON)
def test_an_afternoon_is_read_in_any_language(text: str) -> None:
    assert parse_date(text) == AFTERNOON


@pytest.mark.parametrize("text", AT_MIDNIGHT)
def test_a_midnight_is_read_in_any_language(text: str) -> None:
    assert parse_date(text) == MIDNIGHT


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("Dec 8, 2026, 12:04:09 PM", 12),
        ("Dec 8, 2026, 12:04:09 AM", 0),
        ("2026年12月8日 中午12:04:09", 12),
        ("2026年12月8日 中午1:04:09", 13),
        ("2026年12月8日 晚上7:04:09", 19),
        ("2026年12月8日 早上7:04:09", 7),
        ("8 Dec 2026, 15:04:09 pm", 15),
    ],
)
def test_twelve_hours_are_counted_as_the_language_does(text: str, hour: int) -> None:
    found = parse_date(text)
    assert found is not None
    assert found.hour == hour


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "15:04:09",
        "Dec 8, 2026",
        "Dec 8, 3:04:09 PM",
        "8 Dec 26, 15:04:09",
        "31/02/2026 15:04:09",
        "12/25/2026 15:04:09",
        "8 Dec Jan 2026, 15:04:09",
        "8 Foo 2026, 15:04:09",
        "8 Dec 2026, 25:04:09",
        "8 Dec 2026, 15:64:09",
        "8 Dec 2026, 15:04:09 AM",
        # A spreadsheet's: nobody knows which is the month.
        "9/12/2018 15:02",
        # Words that may be of either half of the day.
        "8 Dec 2026, 3:04:09 nachm.",
        "0001-01-01T00:00:00+14:00",
        "9" * 5_000,
        f"{'9' * 20}/12/2026 15:04:09",
    ],
)
def test_a_date_that_may_mean_anything_is_none(text: str) -> None:
    assert parse_date(text) is None


def test_the_table_holds_words_as_dates_are_split_into() -> None:
    assert set(MONTH_OF.values()) == set(range(1, 13))
    assert [word for word in MONTH_OF if words(word) != [word]] == []
