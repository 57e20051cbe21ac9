"""Reads XML of others piece by piece, without ever holding its tree: what a recording in TCX or GPX comes through.

A document with a DOCTYPE is refused, so no entity can be declared, and none is looked up anywhere. Blanks and a byte
order mark in front are dropped. A document that is cut, or broken at some place, is read up to there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, cast

from lxml import etree

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Damage

# Elements within elements; recordings have about ten.
DEEPEST: Final = 100
# Characters of one element's text that are kept.
LONGEST_TEXT: Final = 4_096
_CHUNK_BYTES = 1 << 16
# The outermost elements, in lower case.
_ROOTS = {FileKind.GPX: "gpx", FileKind.TCX: "trainingcenterdatabase"}
# Blanks, and the mark of UTF-8, stand in front of documents that some programs write.
_IN_FRONT = re.compile(rb"[\s\xef\xbb\xbf]*")
_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")
_DECLARED_ENCODING = re.compile(rb"""^<\?xml\b[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
# Encodings of text whose decoding takes time in proportion to its length. All others are taken for UTF-8.
_ENCODING = re.compile(
    r"(us-)?ascii|iso[-_]?8859[-_]?\d{1,2}|latin[-_]?\d{1,2}|windows[-_]?\d{3,4}|cp\d{3,4}|mac-?roman|koi8-[ru]|"
    r"gb2312|gbk|gb18030|big5|shift[-_]?jis|euc[-_](jp|kr)"
)
# Characters that XML does not allow, each of which would end the reading.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
# What may be the begin of a reference whose end is in the next chunk.
_CUT_REFERENCE = re.compile(r"&[^;&<]{0,9}\Z")


class Sink(Protocol):
    """Takes what is read. Names come without prefix and namespace."""

    def opened(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins; names of attributes are as in the file."""

    def closed(self, name: str, text: str) -> None:
        """An element ends; ``text``: its own, stripped, if no element stands in it, else what followed the last one."""


def read_xml(data: bytes, sink: Sink, kind: FileKind) -> tuple[Damage, ...]:
    """Read a document of a kind into a sink, and return what is damaged.

    Elements that were open where a document was cut are never closed. ``UnreadableFile``: no such document, a DOCTYPE,
    or elements nested deeper than :data:`DEEPEST`; what a sink raises comes through.
    """
    target = _Target(sink, kind)
    parser = etree.XMLParser(
        target=cast("Any", target),  # the stubs ask for bytes and comments as well
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for chunk in _clean_chunks(data):
            parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError:
        if target.refusal is not None:
            raise UnreadableFile(target.refusal) from None
        if not target.has_begun:
            raise UnreadableFile(
                f"no {kind.upper()}: it does not begin as XML; hand in the file as it was saved"
            ) from None
        return (Damage.CUT if target.is_open else Damage.EXTRA_BYTES,)
    return ()


class _Target:
    """What lxml calls while it reads."""

    def __init__(self, sink: Sink, kind: FileKind) -> None:
        self.refusal: str | None = None
        self.has_begun = False
        self._sink = sink
        self._kind = kind
        self._depth = 0
        self._text = ""
        self._names: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        return self._depth > 0

    def doctype(self, name: str, *_identifiers: str | None) -> None:
        self._refuse(f"it has a DOCTYPE ({name[:40]}), which no recording needs; it is not read")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = self._names.get(tag) or self._named(tag)
        if not self.has_begun and name.lower() != _ROOTS[self._kind]:
            self._refuse(f"no {self._kind.upper()}: it begins with <{name[:40]}>")
        self.has_begun = True
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(f"its elements are nested deeper than {DEEPEST}; it is not read")
        self._text = ""
        self._sink.opened(name, attributes)

    def data(self, text: str) -> None:
        if len(self._text) < LONGEST_TEXT:
            self._text += text

    def end(self, tag: str) -> None:
        self._depth -= 1
        text, self._text = self._text[:LONGEST_TEXT].strip(), ""
        self._sink.closed(self._names[tag], text)

    def close(self) -> None:
        """Nothing is left to do at the end of a document."""

    def _named(self, tag: str) -> str:
        # A prefix that nobody declared stays in the tag.
        name = self._names[tag] = tag.rpartition("}")[2].rpartition(":")[2]
        return name

    def _refuse(self, refusal: str) -> None:
        self.refusal = refusal
        raise UnreadableFile(refusal)


def _clean_chunks(data: bytes) -> Iterator[bytes]:
    """Yield a document in UTF-8, without its declaration, characters that XML forbids and ampersands on their own."""
    encoding, begin = _encoding(data)
    decode = codecs.getincrementaldecoder(encoding)(errors="replace").decode
    # In a CDATA section an ampersand stands for itself.
    mends_ampersands = b"<![CDATA[" not in data
    kept, is_first = "", True
    for at in range(begin, len(data), _CHUNK_BYTES):
        chunk = data[at : at + _CHUNK_BYTES]
        text = kept + decode(chunk, final=at + _CHUNK_BYTES >= len(data))
        kept = ""
        if is_first:
            text, is_first = _DECLARATION.sub("", text.lstrip("\ufeff")), False
        if mends_ampersands and "&" in text:
            cut = _CUT_REFERENCE.search(text) if at + _CHUNK_BYTES < len(data) else None
            if cut:
                text, kept = text[: cut.start()], cut.group()
            text = _BARE_AMPERSAND.sub("&amp;", text)
        yield _NOT_XML.sub("\ufffd", text).encode()


def _encoding(data: bytes) -> tuple[str, int]:
    """Return the encoding of a document, and where it begins."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return encoding, len(mark)
    if data[:2] in (b"<\x00", b"\x00<"):
        return ("utf-16-le" if data[0] else "utf-16-be"), 0
    front = _IN_FRONT.match(data)
    begin = front.end() if front else 0
    declared = _DECLARED_ENCODING.match(data[begin : begin + 400])
    name = declared.group(1).decode().lower() if declared else "utf-8"
    if not _ENCODING.fullmatch(name):
        return "utf-8", begin
    try:
        return codecs.lookup(name).name, begin
    except LookupError:
        return "utf-8", begin
