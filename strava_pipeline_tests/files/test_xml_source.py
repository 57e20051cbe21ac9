"""XML of others: what is read of it, what is mended, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Damage
from strava_pipeline.files.xml_source import DEEPEST, LONGEST_TEXT, read_xml
from strava_pipeline_tests.files.xml_documents import gpx, sample, trkpt


class _Texts:
    """Keeps the texts of closed elements by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def opened(self, name: str, attributes: Mapping[str, str]) -> None:
        self.texts |= {f"@{attribute}": value for attribute, value in attributes.items()}

    def closed(self, name: str, text: str) -> None:
        self.texts[name] = text


def _read(document: bytes) -> tuple[dict[str, str], tuple[Damage, ...]]:
    sink = _Texts()
    damage = read_xml(document, sink, FileKind.GPX)
    return sink.texts, damage


def test_blanks_and_marks_in_front_are_dropped() -> None:
    for front in (b"          ", b"\xef\xbb\xbf", b"\r\n\xef\xbb\xbf  "):
        assert _read(front + b'<?xml version="1.0"?><gpx><n>a</n></gpx>') == ({"n": "a", "gpx": ""}, ())


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "windows-1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_read_as_declared(encoding: str) -> None:
    declared = "utf-16" if encoding.startswith("utf-16") else encoding
    document = f'<?xml version="1.0" encoding="{declared}"?><gpx><n>Höhe</n></gpx>'.encode(encoding)
    assert _read(document)[0]["n"] == "Höhe"


def test_a_wrong_or_odd_encoding_costs_letters_only() -> None:
    for declared in ("punycode", "no-such", "zip", "utf-16"):
        texts, damage = _read(f'<?xml version="1.0" encoding="{declared}"?><gpx><n>5</n></gpx>'.encode())
        assert (texts["n"], damage) == ("5", ())
    assert _read(b"<gpx><n>H\xf6he 5</n></gpx>")[0]["n"] == "H\ufffdhe 5"


def test_ampersands_and_characters_that_xml_forbids_do_not_end_the_reading() -> None:
    texts, damage = _read(b"<gpx><n>Bed & Breakfast &nbsp; &lt; &#65; \x01</n><m>5</m></gpx>")
    assert (texts["n"], texts["m"], damage) == ("Bed & Breakfast &nbsp; < A \ufffd", "5", ())
    assert _read(b"<gpx><n><![CDATA[Bed & Breakfast]]></n></gpx>")[0]["n"] == "Bed & Breakfast"


def test_a_reference_between_two_pieces_of_a_document_stays_whole() -> None:
    for blanks in range(65_520, 65_540):
        texts, damage = _read(b"<gpx>" + b" " * blanks + b"<n>a&lt;&amp;&b</n></gpx>")
        assert (texts["n"], damage) == ("a<&&b", ())


def test_names_come_without_prefix_declared_or_not() -> None:
    texts, damage = _read(b'<gpx xmlns:a="urn:a"><a:hr>1</a:hr><b:cad>2</b:cad></gpx>')
    assert (texts["hr"], texts["cad"], damage) == ("1", "2", ())


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE gpx SYSTEM "http://example.invalid/gpx.dtd"><gpx/>',
        b"<!-- " + b"x" * 200_000 + b" --><!DOCTYPE gpx><gpx/>",
        '<!DOCTYPE gpx [<!ENTITY a "b">]><gpx>&a;</gpx>'.encode("utf-16"),
        sample("billion_laughs.gpx"),
    ],
)
def test_a_document_type_is_refused_before_anything_is_read(document: bytes) -> None:
    sink = _Texts()
    with pytest.raises(UnreadableFile, match="DOCTYPE"):
        read_xml(document, sink, FileKind.GPX)
    assert sink.texts == {}


def test_what_is_no_such_document_is_refused() -> None:
    for document in (b"", b"  ", b"hello", b"\x1f\x8b\x08", b"\x0e\x10\x00\x00.FIT"):
        with pytest.raises(UnreadableFile, match="no GPX: it does not begin as XML"):
            _read(document)
    with pytest.raises(UnreadableFile, match="no GPX: it begins with <html>"):
        _read(b"<html/>")


def test_elements_within_elements_are_bounded() -> None:
    with pytest.raises(UnreadableFile, match="deeper than 100"):
        _read(b"<gpx>" + b"<a>" * DEEPEST)
    assert _read(b"<gpx>" + b"<a>" * (DEEPEST - 1))[1] == (Damage.CUT,)


def test_a_long_text_is_kept_in_part() -> None:
    assert len(_read(b"<gpx><n>" + b"x" * 1_000_000 + b"</n></gpx>")[0]["n"]) == LONGEST_TEXT


def test_an_element_that_was_cut_is_never_closed() -> None:
    texts, damage = _read(b"<gpx><ele>216.8</ele><ele>21")
    assert (texts["ele"], "gpx" in texts, damage) == ("216.8", False, (Damage.CUT,))


def test_what_follows_the_document_is_reported() -> None:
    assert _read(b"<gpx><n>1</n></gpx><gpx><n>2</n></gpx>") == ({"n": "1", "gpx": ""}, (Damage.EXTRA_BYTES,))


def test_memory_follows_the_points_not_the_tree() -> None:
    document = gpx("".join(trkpt(second % 3_600, inside="<desc>" + "x" * 1_000 + "</desc>") for second in range(4_000)))
    tracemalloc.start()
    try:
        count = read_gpx(document).record_count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 4_000
    assert peak < 1_000_000 < len(document)
