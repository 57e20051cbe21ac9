"""Tables of accounts in other languages: headers that nobody has seen, dates, sports and figures for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from strava_pipeline_tests.files.archive.made_archives import LAYOUTS, cells, good, made_zip, read_rows, table_bytes

STARTS = [datetime(2017, 6, 23, 15, 52, 12, tzinfo=UTC), datetime(2021, 1, 3, 0, 5, 6, tzinfo=UTC)]
DATES = {
    "Italian": ["23 giu 2017, 15:52:12", "3 gen 2021, 00:05:06"],
    "Japanese": ["2017/06/23 15:52:12", "2021/01/03 0:05:06"],
    "Polish": ["23 cze 2017, 15:52:12", "3 sty 2021, 00:05:06"],
    "Dutch": ["23 jun. 2017 15:52:12", "3 jan. 2021 00:05:06"],
    "Korean": ["2017. 6. 23. 오후 3:52:12", "2021. 1. 3. 오전 12:05:06"],
    "Brazilian": ["23 de jun. de 2017 15:52:12", "3 de jan. de 2021 00:05:06"],
    "Chinese": ["2017年6月23日 下午3:52:12", "2021年1月3日 凌晨12:05:06"],
    "Finnish": ["23.6.2017 15.52.12", "3.1.2021 0.05.06"],
}
RUNS = {
    "Italian": "Corsa", "Japanese": "ラン", "Polish": "Bieg", "Dutch": "Hardloopsessie", "Korean": "달리기",
    "Brazilian": "Corrida", "Chinese": "跑步", "Finnish": "Juoksu",
}  # fmt: skip


@pytest.mark.parametrize("language", DATES)
@pytest.mark.parametrize("width", ["11", "72", "94", "103", "120"])
def test_an_archive_in_another_language_is_read_whole(tmp_path: Path, language: str, width: str) -> None:
    layout = LAYOUTS[width]
    headers = [f"{language} {column.header}" for column in layout]
    rows = [
        cells(layout, id=str(number), start=date, sport_word=RUNS[language], shown_distance="3,32")
        for number, date in enumerate(DATES[language], start=1)
    ]
    path = made_zip(tmp_path / "export_1.zip", {"activities.csv": table_bytes(rows, layout, headers)})
    read = good(read_rows(path, f"{RUNS[language]}=Run"))
    assert [row.start for row in read] == STARTS
    assert {row.sport for row in read} == {"Run"}
    assert [row.distance_m for row in read] == pytest.approx([3_322.0] * 2, abs=3)
