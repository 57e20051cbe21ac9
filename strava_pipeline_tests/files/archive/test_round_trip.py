from __future__ import annotations

import string
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from strava_pipeline.files.archive import cells as reads
from strava_pipeline.files.archive.columns import FIRST, Column
from strava_pipeline_tests.files.archive.made_archives import CELLS, LAYOUTS, cells, good, read_table, table_bytes

FIGURES = st.floats(0, 1e9, allow_nan=False).map(abs)
# Filled by other columns, or a text for the eye.
ASIDE = frozenset({"shown_distance", "filename", "media", "start", "shown_commute", "commute"})
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
STARTS = st.datetimes(datetime(1980, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001  made UTC below


def written(column: Column) -> st.SearchStrategy[tuple[Any, str]]:
    """Values of a column, and the cells that Strava writes for them."""
    if column.read is reads.flag:
        return st.booleans().map(lambda value: (value, f"{float(value)}"))
    if column.read is reads.whole:
        return st.integers(0, 10**9).map(lambda value: (value, f"{float(value)}"))
    if column.read is reads.instant:
        return st.integers(0, 2**32 - 1).map(lambda value: (datetime.fromtimestamp(value, UTC), f"{float(value)}"))
    if column.read in {reads.bike, reads.shoe}:
        letter = "b" if column.read is reads.bike else "g"
        return st.integers(1, 10**12).map(lambda value: (f"{letter}{value}", f"{value}.0"))
    if column.read is reads.text:
        return TEXTS.filter(str.strip).map(lambda value: (value, value))
    return FIGURES.map(lambda value: (value, repr(value)))


@st.composite
def rows(draw: st.DrawFn, layout: tuple[Column, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a row should tell, and its cells: some columns are blank."""
    values: dict[str, Any] = {"id": draw(st.integers(1, 2**63 - 1))}
    texts = {"id": str(values["id"])}
    for column in layout:
        if column in FIRST[:1] or column.name in ASIDE or column.name.startswith("new_"):
            continue
        if column.name in {"elapsed_s", "moving_s", "distance_m", "sport_word", "name"} or draw(st.booleans()):
            values[column.name], texts[column.name] = draw(written(column))
    start = draw(STARTS)
    values["start"], texts["start"] = start.replace(tzinfo=UTC), start.strftime("%b %-d, %Y, %-I:%M:%S %p")
    number = draw(st.integers(1, 10**12))
    values["filename"] = texts["filename"] = f"activities/{number}.{draw(st.sampled_from(['gpx', 'fit.gz', 'tcx.gz']))}"
    media = draw(st.lists(st.text(string.ascii_uppercase, min_size=1), max_size=3))
    if layout[-1].name == "media":
        values["media"], texts["media"] = (
            tuple(f"media/{name}" for name in media),
            "|".join(f"media/{n}" for n in media),
        )
    return values, texts


def found(row: Any, name: str) -> Any:
    if not name.startswith("weather_"):
        return getattr(row, name)
    return getattr(row.weather, name.removeprefix("weather_"))


@settings(max_examples=25)
@given(data=st.data(), name=st.sampled_from(sorted(LAYOUTS)), delimiter=st.sampled_from(",;\t"))
def test_a_table_in_any_layout_reads_back_as_it_was_written(data: st.DataObject, name: str, delimiter: str) -> None:
    layout = LAYOUTS[name]
    made = data.draw(st.lists(rows(layout), min_size=1, max_size=3, unique_by=lambda row: row[0]["id"]))
    blank = dict.fromkeys(CELLS, "") | {"shown_commute": "false"}
    table = table_bytes([cells(layout, **blank | texts) for _, texts in made], layout, delimiter=delimiter)
    with tempfile.TemporaryDirectory() as folder:
        read = good(read_table(Path(folder), table))
    assert len(read) == len(made)
    for row, (values, _) in zip(read, made, strict=True):
        for field, value in values.items():
            assert found(row, field) == (value.strip() if field == "sport_word" else value), field
        assert row.unknown == ()
