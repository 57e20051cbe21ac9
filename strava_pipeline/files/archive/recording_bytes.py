"""From the bytes of a recording's file to its plain bytes and its format, whatever its name says."""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass
from typing import Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Damage

_GZIP: Final = b"\x1f\x8b"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ZIP: Final = b"PK\x03\x04"
# A gzip header and its end, for `zlib`: https://docs.python.org/3/library/zlib.html#zlib.decompressobj
_WITH_GZIP_HEADER: Final = 31
_PIECE: Final = 2**16
_FIT_AT: Final = slice(8, 12)
_FIT: Final = b".FIT"
# The root element comes early, whatever comments stand in front of it.
_HEAD: Final = 2**16
# What may stand before the root: blanks, the XML declaration, comments, a document type.
_PROLOG: Final = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_ROOT: Final = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
_KIND_OF_ROOT: Final = {"gpx": FileKind.GPX, "trainingcenterdatabase": FileKind.TCX}


@dataclass(frozen=True, slots=True)
class RecordingBytes:
    """``data``: the plain file, without blanks and byte order mark in front of XML; ``damage``: of the gzip around."""

    kind: FileKind
    data: bytes
    damage: tuple[Damage, ...]


def recording_bytes(name: str, raw: bytes, limits: ArchiveLimits = DEFAULT_LIMITS) -> RecordingBytes:
    """Unpack a recording, if it is packed, and tell its format by its first bytes.

    Of a gzip that is cut off or damaged, what comes before is kept. ``UnreadableFile`` names the file if it is empty,
    breaks a bound, or is neither FIT nor TCX nor GPX.
    """
    if len(raw) > limits.packed_bytes and raw.startswith(_GZIP):
        raise _too_large(name, limits.packed_bytes)
    data, damage = _unpacked(name, raw, limits) if raw.startswith(_GZIP) else (raw, ())
    if len(data) > limits.plain_bytes:
        raise _too_large(name, limits.plain_bytes)
    if not data:
        raise UnreadableFile(f"{name} is empty: it has no recording")
    if data[_FIT_AT] == _FIT:
        return RecordingBytes(FileKind.FIT, data, damage)
    bare = _without_front(data)
    return RecordingBytes(_kind_of_xml(name, bare), bare, damage)


def _unpacked(name: str, raw: bytes, limits: ArchiveLimits) -> tuple[bytes, tuple[Damage, ...]]:
    most = min(limits.plain_bytes, max(limits.small_bytes, limits.ratio * len(raw)))
    plain = bytearray()
    rest = raw
    while rest.startswith(_GZIP):  # several gzips may follow each other, and are one file
        damage, rest = _unpack(rest, plain, most)
        if len(plain) > most:
            raise UnreadableFile(f"{name} unpacks to more than the {most:,} bytes that are read: it is left out")
        if damage:
            return bytes(plain), (damage,)
    return bytes(plain), (Damage.EXTRA_BYTES,) if rest.strip(b"\0") else ()


def _unpack(packed: bytes, plain: bytearray, most: int) -> tuple[Damage | None, bytes]:
    """Append what a gzip holds, at most one byte more than ``most``; return its damage, and what follows it."""
    unpacker = zlib.decompressobj(_WITH_GZIP_HEADER)
    for at in range(0, len(packed), _PIECE):
        piece, before, room = packed[at : at + _PIECE], unpacker.copy(), most + 1 - len(plain)
        try:
            plain += unpacker.decompress(piece, room)
        except zlib.error as error:
            _unpack_bytewise(before, piece, plain, most)
            return Damage.CHECKSUM if "check" in str(error) else Damage.CUT_GZIP, b""
        if unpacker.eof:
            return None, packed[at + len(piece) - len(unpacker.unused_data) :]
        if len(plain) > most:
            return None, b""
    return Damage.CUT_GZIP, b""


def _unpack_bytewise(unpacker: zlib._Decompress, piece: bytes, plain: bytearray, most: int) -> None:
    """Append what comes before the fault in a piece, of which ``zlib`` gives nothing when it sees the whole."""
    for at in range(len(piece)):
        if len(plain) > most:
            return
        try:
            plain += unpacker.decompress(piece[at : at + 1], most + 1 - len(plain))
        except zlib.error:
            return


def _too_large(name: str, most: int) -> UnreadableFile:
    return UnreadableFile(f"{name} is larger than the {most:,} bytes that are read: it is left out")


def _without_front(data: bytes) -> bytes:
    """XML without blanks and the byte order mark of UTF-8 in front, which devices write and parsers refuse."""
    front = data[:_HEAD]
    bare = front.lstrip()
    while bare.startswith(codecs.BOM_UTF8):
        bare = bare[len(codecs.BOM_UTF8) :].lstrip()
    return data[len(front) - len(bare) :]


def _kind_of_xml(name: str, data: bytes) -> FileKind:
    head = data[:_HEAD]
    text = head.decode("utf-16" if head.startswith(_UTF16_MARKS) else "utf-8", "replace")
    at = 0
    while found := _PROLOG.match(text, at):
        at = found.end()
    root = _ROOT.match(text, at)
    kind = _KIND_OF_ROOT.get(root[1].lower()) if root else None
    if kind is None:
        what = "a zip" if data.startswith(_ZIP) else "neither FIT nor TCX nor GPX"
        raise UnreadableFile(f"{name} is {what}: it is not read")
    return kind
