"""Strict parsing of HTTP requests, against request smuggling.

A proxy in front may find another end of a request than we do. So each request that can be read in two ways is refused
and its connection closed. waitress is strict about most of them; this parser also refuses: a length together with
chunks, chunks in HTTP/1.0, other versions of HTTP, continued header lines, a missing or second Host, a Host that
contradicts the address, odd addresses and white space, line feeds alone, chunk sizes that end in one, empty lines
between chunks, and trailers that are no header fields. It ignores "100 Continue" for a request without a body, since
waitress would mix its headers with those of the next. Source: RFC 9112, https://www.rfc-editor.org/rfc/rfc9112.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.receiver import FixedStreamReceiver
from waitress.rfc7230 import CHUNK_EXT_RE, HEADER_FIELD_RE
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from strava_pipeline.local.large_bodies import Admitted, Head, Refused

# In bytes; usual lines between chunks take about ten.
LONGEST_CHUNK_LINE = 1024
_FIRST_LINE = re.compile(rb"[A-Z][!-~]* (?P<target>[!-~]+) HTTP/1\.(?P<minor>[01])(?=\r\n|\Z)")
# Only empty lines may come before a request.
_BEGINNING = re.compile(rb"(?:\r\n)*(?:\r?\Z|[!-~])")
# One pass over the head is three times as fast for each delivery as splitting it into lines.
_SINGLE_HEADERS = re.compile(rb"\r\n(content-length|host|transfer-encoding):([^\r\n]*)", re.IGNORECASE)
_HOST = rb"(?:[A-Za-z0-9._~%!$&'()*+;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
_WHOLE_HOST = re.compile(_HOST)
_ADDRESS = re.compile(rb"(?i:https?)://(?P<host>" + _HOST + rb")(?:[/?].*)?")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]+")
# What becomes of a request with a body, by its head; ``None``: it is one like all others.
Judge = Callable[[Head], Admitted | Refused | None]
# Headers that belong before the body and may not be trailers.
_NO_TRAILERS = frozenset({b"CONTENT-LENGTH", b"HOST", b"TRANSFER-ENCODING"})


class StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """waitress' parser of one request, made strict.

    ``began_at``: time of its first byte, unix s. ``complete_at``: when it was complete, on the monotonic clock, s.
    ``admitted``: what allows it a larger body than others, by the ``judge``.
    """

    adj: Any
    body_rcv: Any = None
    completed: bool = False
    complete_at: float | None = None
    admitted: Admitted | None = None
    refused: Refused | None = None

    def __init__(self, adj: Any, judge: Judge | None = None) -> None:
        super().__init__(adj)
        self.began_at = time.time()
        self._judge = judge

    def received(self, data: bytes) -> int:
        """Parse ``data``; returns how many bytes of it belong to this request. An error completes the request."""
        in_head = not self.headers_finished
        if in_head and not _BEGINNING.match(self.header_plus + data if self.header_plus else data):
            return self._refuse("a request cannot begin like this", data)
        consumed: int = super().received(data)
        if in_head and not self.completed and _has_lone_line_feed(self.header_plus):
            return self._refuse("line feed alone in the head", data)
        if in_head and self.refused is not None:
            self.error = _refusal(self.refused)
            self.completed, self.expect_continue = True, False
            return len(data)  # whatever came of the body with the head
        if self.completed:
            # The request is complete; else waitress would continue it with the bytes of the next one.
            self.expect_continue = False
            self.complete_at = time.monotonic()
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Check and parse the head; ``ParsingError`` (400, never 501) for each fault, since the sender caused it."""
        _check_head(header_plus)
        try:
            super().parse_header(header_plus)
        except (TransferEncodingNotImplemented, ValueError) as error:
            raise ParsingError(str(error)) from None
        if self.chunked:
            self.body_rcv = StrictChunks(self.body_rcv.getbuf(), self.adj.max_request_body_size)
        if self._judge is not None and self.body_rcv is not None:
            self._ask(self._judge)

    def _ask(self, judge: Judge) -> None:
        length = None if self.chunked else self.content_length
        verdict = judge(Head(self.command, self.path, self.headers, length))
        if isinstance(verdict, Refused):
            self.refused = verdict
        elif verdict is not None:
            self.admitted = verdict
            # waitress takes a body from its cap on as too large.
            self.adj = SimpleNamespace(
                max_request_header_size=self.adj.max_request_header_size,
                max_request_body_size=verdict.most_bytes + 1,
            )
            # In memory: waitress would keep a body of this size in a file.
            self.body_rcv = FixedStreamReceiver(self.content_length, OverflowableBuffer(verdict.most_bytes + 1))

    def _refuse(self, reason: str, data: bytes) -> int:
        self.error = BadRequest(reason)
        self.completed = True
        return len(data)


class StrictChunks:
    """A receiver of a chunked body for waitress; ``error`` is the first fault found, or ``None``."""

    def __init__(self, buffer: Any, most_bytes: int) -> None:
        self.completed = False
        self.error: BadRequest | RequestEntityTooLarge | None = None
        self._buffer = buffer
        self._most_bytes = most_bytes
        self._missing = 0
        self._line = b""
        self._take = self._take_size

    def __len__(self) -> int:
        length: int = self._buffer.__len__()
        return length

    def getfile(self) -> Any:
        return self._buffer.getfile()

    def getbuf(self) -> Any:
        return self._buffer

    def received(self, data: bytes) -> int:
        """Parse ``data``; returns how many bytes of it belong to the body."""
        pending = self._line + data if self._line else data
        self._line = b""
        while pending and not self.completed and self.error is None:
            if self._missing:
                part = pending[: self._missing]
                self._buffer.append(part)
                self._missing -= len(part)
                pending = pending[len(part) :]
                continue
            line, ended, rest = pending.partition(b"\r\n")
            if len(line) > LONGEST_CHUNK_LINE or _has_lone_line_feed(line):
                self.error = BadRequest("a line between chunks does not end")
            elif ended:
                self._take(line)
                pending = rest
            else:
                self._line, pending = pending, b""
        return len(data) - len(pending)

    def _take_size(self, line: bytes) -> None:
        size, semicolon, extension = line.partition(b";")
        if not _CHUNK_SIZE.fullmatch(size) or not CHUNK_EXT_RE.fullmatch(semicolon + extension):
            self.error = BadRequest("size of a chunk is invalid")
        elif (length := int(size, 16)) > self._most_bytes:
            self.error = RequestEntityTooLarge(f"exceeds max_body of {self._most_bytes}")
        else:
            self._missing = length
            self._take = self._take_end if length else self._take_trailer

    def _take_end(self, line: bytes) -> None:
        if line:
            self.error = BadRequest("a chunk is longer than its size")
        self._take = self._take_size

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.completed = True
            return
        field = HEADER_FIELD_RE.fullmatch(line)
        if field is None or field["name"].upper() in _NO_TRAILERS:
            self.error = BadRequest("a trailer is invalid")


def _refusal(refused: Refused) -> Error:
    error = Error(refused.reason)
    error.code, error.reason = refused.status.value, refused.status.phrase
    return error


def _check_head(head: bytes) -> None:
    """Raise ``ParsingError`` for faults of the head that waitress accepts."""
    request = _FIRST_LINE.match(head)
    if request is None:
        raise ParsingError("first line is invalid")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise ParsingError("continued header line")
    fields: dict[bytes, bytes] = {}
    for name, value in _SINGLE_HEADERS.findall(head):
        lowered = name.lower()
        if lowered in fields:
            raise ParsingError("a header that may come once comes twice")
        fields[lowered] = value.strip(b" \t")
    in_1_1 = request["minor"] == b"1"
    _check_length(fields, in_1_1=in_1_1)
    _check_host(request["target"], fields.get(b"host"), needed=in_1_1)


def _has_lone_line_feed(text: bytes) -> bool:
    return text.count(b"\n") != text.count(b"\r\n")


def _check_length(fields: dict[bytes, bytes], *, in_1_1: bool) -> None:
    encoding = fields.get(b"transfer-encoding")
    if encoding is None:
        return
    if not in_1_1 or b"content-length" in fields or encoding.lower() != b"chunked":
        raise ParsingError("length of the body is ambiguous")


def _check_host(target: bytes, host: bytes | None, *, needed: bool) -> None:
    if host is None:
        if needed:
            raise ParsingError("no Host")
    elif not _WHOLE_HOST.fullmatch(host):
        raise ParsingError("Host is invalid")
    if b"#" in target:
        raise ParsingError("address with a fragment")
    if target.startswith(b"/") or target == b"*":
        return
    address = _ADDRESS.fullmatch(target)
    if address is None or (host is not None and address["host"].lower() != host.lower()):
        raise ParsingError("address and Host contradict each other")
