"""Requests to ``/health/live`` whose end can be read in more ways than one, and others that only look like it."""

from __future__ import annotations

PATH = b"/health/live"
HOST = b"Host: bridge"
BODY = b"hello"
# Sent behind each of them, on the same connection.
NEXT = b"GET /health/live?next HTTP/1.1\r\nHost: bridge\r\n\r\n"


def post(*lines: bytes, body: bytes = BODY, first: bytes = b"POST " + PATH + b" HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"\r\n".join([line for line in (first, host, *lines) if line] + [b"", body])


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


LENGTH = b"Content-Length: 5"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
TARGET = b"POST %b HTTP/1.1"

AMBIGUOUS: dict[str, bytes] = {
    # Content-Length
    "length and chunks": chunked(CHUNKS, LENGTH),
    "chunks and length": post(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKS),
    "length and chunks, in one message of each": chunked(b"0\r\n\r\n", b"Content-Length: 4"),
    "length 0 and chunks": chunked(CHUNKS, b"Content-Length: 0"),
    "length and chunks, to be kept": chunked(CHUNKS, LENGTH, b"Connection: keep-alive"),
    "length and an unknown encoding": post(LENGTH, b"Transfer-Encoding: x"),
    "two differing lengths": post(LENGTH, b"Content-Length: 4"),
    "two equal lengths": post(LENGTH, LENGTH),
    "differing lengths in one line": post(b"Content-Length: 5, 4"),
    "equal lengths in one line": post(b"Content-Length: 5, 5"),
    "length with plus": post(b"Content-Length: +5"),
    "length with minus": post(b"Content-Length: -5"),
    "length with a space": post(b"Content-Length: 5 5"),
    "length with a vertical tab": post(b"Content-Length: \x0b5"),
    "length with a form feed": post(b"Content-Length: 5\x0c"),
    "length with an underscore": post(b"Content-Length: 0_5"),
    "length in hex": post(b"Content-Length: 0x5"),
    "length with a point": post(b"Content-Length: 5.0"),
    "length in other digits": post("Content-Length: \u0665".encode()),
    "length in superscript": post(b"Content-Length: \xb5"),
    "length without an end": post(b"Content-Length: " + b"9" * 5_000),
    "empty length": post(b"Content-Length:"),
    "length of white space": post(b"Content-Length: \t "),
    "length in quotes": post(b'Content-Length: "5"'),
    # Transfer-Encoding
    "encoding twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS),
    "encoding twice, once in capitals": post(b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: x", body=CHUNKS),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "identity": post(b"Transfer-Encoding: identity"),
    "identity and a length": post(b"Transfer-Encoding: identity", LENGTH),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "xchunked": post(b"Transfer-Encoding: xchunked", LENGTH),
    "empty encoding": post(b"Transfer-Encoding:", LENGTH),
    "comma and chunked": post(b"Transfer-Encoding: ,chunked", body=CHUNKS),
    "chunked and comma": post(b"Transfer-Encoding: chunked,", body=CHUNKS),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"', body=CHUNKS),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS),
    "chunked after a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "chunked before a next line": post(b"Transfer-Encoding: chunked\x85", body=CHUNKS),
    "chunked before a NUL": post(b"Transfer-Encoding: chunked\x00", body=CHUNKS),
    "chunked in a continued line": post(b"Transfer-Encoding:", b" chunked", body=CHUNKS),
    "x continued by chunked": post(b"Transfer-Encoding: x,", b"\tchunked", body=CHUNKS),
    "length in a continued line": post(b"Content-Length:", b" 5"),
    "any continued line": post(LENGTH, b"X-Odd: a", b" b"),
    "continued first line": post(b" X-Odd: a", LENGTH, host=b""),
    "encoding in HTTP/1.0": post(b"Transfer-Encoding: chunked", body=CHUNKS, first=b"POST " + PATH + b" HTTP/1.0"),
    "encoding in HTTP/1.0, to be kept": post(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", body=CHUNKS, first=b"POST " + PATH + b" HTTP/1.0"
    ),
    # names
    "space before the colon of a length": post(b"Content-Length : 5"),
    "tab before the colon of an encoding": post(b"Transfer-Encoding\t: chunked", body=CHUNKS),
    "NUL in a name": post(b"Content-Length\x00: 5"),
    "NUL in a value": post(LENGTH, b"X-Odd: \x00"),
    "empty name": post(LENGTH, b": 5"),
    "no colon": post(LENGTH, b"X-Odd"),
    "name in other letters": post(LENGTH, "Cöntent-Length: 4".encode()),
    # ends of lines
    "line feed alone in a header": post(b"X-Odd: a\nTransfer-Encoding: chunked", LENGTH),
    "line feeds alone in the head": post(LENGTH).replace(b"\r\n", b"\n"),
    "carriage return alone in a header": post(b"X-Odd: a\rTransfer-Encoding: chunked", LENGTH),
    "line feed alone after the first line": post(LENGTH).replace(b"\r\n", b"\n", 1),
    "carriage return alone after the first line": post(LENGTH).replace(b"\r\n", b"\r", 1),
    "two carriage returns": post(b"X-Odd: a\r", LENGTH),
    "line feed before a request": b"\n" + post(LENGTH),
    "space before a request": b" " + post(LENGTH),
    "vertical tab before a request": b"\x0b" + post(LENGTH),
    "empty line and a space before a request": b"\r\n " + post(LENGTH),
    # chunks
    "chunk size with plus": chunked(b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with minus": chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with 0x": chunked(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with an underscore": chunked(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "chunk size after a space": chunked(b" 5\r\nhello\r\n0\r\n\r\n"),
    "chunk size before a space": chunked(b"5 \r\nhello\r\n0\r\n\r\n"),
    "chunk size before a line feed": chunked(b"5\n\r\nhello\r\n0\r\n\r\n"),
    "chunk size and extension before a line feed": chunked(b"5;a=b\n\r\nhello\r\n0\r\n\r\n"),
    "chunk size ended by a line feed": chunked(b"5\nhello\r\n0\r\n\r\n"),
    "chunk size ended by a carriage return": chunked(b"5\rhello\r\n0\r\n\r\n"),
    "empty chunk size": chunked(b"\r\nhello\r\n0\r\n\r\n"),
    "empty line before a chunk": chunked(b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    "empty line between chunks": chunked(b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    "chunk size of 5,000 digits": chunked(b"f" * 5_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk size that never ends": chunked(b"0" * 5_000),
    "chunk size that overflows": chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "extension without a name": chunked(b"5;=b\r\nhello\r\n0\r\n\r\n"),
    "extension with a line feed": chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "extension with a carriage return": chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "extension without an end": chunked(b"5;a=" + b"b" * 5_000),
    "no line end after a chunk": chunked(b"5\r\nhello0\r\n\r\n"),
    "line feed after a chunk": chunked(b"5\r\nhello\n0\r\n\r\n"),
    "carriage return after a chunk": chunked(b"5\r\nhello\r0\r\n\r\n"),
    "chunk that is longer than its size": chunked(b"4\r\nhello\r\n0\r\n\r\n"),
    "trailer that is a request": chunked(b"5\r\nhello\r\n0\r\n" + NEXT),
    "trailer with a length": chunked(b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),
    "trailer with an encoding": chunked(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "trailer with a host": chunked(b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n"),
    "continued trailer": chunked(b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"),
    "trailer with a line feed": chunked(b"5\r\nhello\r\n0\r\nX: a\nGET / HTTP/1.1\r\n\r\n"),
    "trailers ended by line feeds": chunked(b"5\r\nhello\r\n0\r\n\n"),
    # the first line, and to whom it goes
    "HTTP/0.9": post(LENGTH, first=b"POST " + PATH),
    "HTTP/0.9, to be kept": post(b"Connection: keep-alive", LENGTH, first=b"POST " + PATH),
    "HTTP/1.2 with chunks": post(b"Transfer-Encoding: chunked", body=CHUNKS, first=b"POST " + PATH + b" HTTP/1.2"),
    "HTTP/2.0": post(LENGTH, b"Connection: keep-alive", first=b"POST " + PATH + b" HTTP/2.0"),
    "http/1.1": post(LENGTH, first=b"POST " + PATH + b" http/1.1"),
    "HTTP/1.1 and a space": post(LENGTH, first=b"POST " + PATH + b" HTTP/1.1 "),
    "HTTP/1.1 and a vertical tab": post(LENGTH, first=b"POST " + PATH + b" HTTP/1.1\x0b"),
    "two spaces": post(LENGTH, first=b"POST  " + PATH + b" HTTP/1.1"),
    "tab in the first line": post(LENGTH, first=b"POST\t" + PATH + b" HTTP/1.1"),
    "NUL in the address": post(LENGTH, first=TARGET % (PATH + b"\x00")),
    "next line in the address": post(LENGTH, first=TARGET % (PATH + b"\x85")),
    "letters that are no ASCII in the address": post(LENGTH, first=TARGET % (PATH + "/ö".encode())),
    "fragment in the address": post(LENGTH, first=TARGET % (PATH + b"#/connect")),
    "address without a slash": post(LENGTH, first=TARGET % b"health/live"),
    "address as CONNECT takes it": post(LENGTH, first=TARGET % b"bridge:80"),
    "address of another host": post(LENGTH, first=TARGET % (b"http://evil" + PATH)),
    "address of another port": post(LENGTH, first=TARGET % (b"http://bridge:81" + PATH)),
    "address with a user": post(LENGTH, first=TARGET % (b"http://evil@bridge" + PATH)),
    "address of another scheme": post(LENGTH, first=TARGET % (b"ftp://bridge" + PATH)),
    "address of no host": post(LENGTH, first=TARGET % (b"http://" + PATH)),
    "no host": post(LENGTH, host=b""),
    "empty host": post(LENGTH, host=b"Host:"),
    "two hosts": post(b"Host: evil", LENGTH),
    "the same host twice": post(HOST, LENGTH),
    "two hosts in HTTP/1.0": post(b"Host: evil", LENGTH, first=b"POST " + PATH + b" HTTP/1.0"),
    "hosts in one line": post(LENGTH, host=b"Host: bridge, evil"),
    "host with a space": post(LENGTH, host=b"Host: bridge evil"),
    "host with a user": post(LENGTH, host=b"Host: evil@bridge"),
    "host with a path": post(LENGTH, host=b"Host: bridge/evil"),
    "host with two ports": post(LENGTH, host=b"Host: bridge:80:81"),
    "line without an end": b"GET " + PATH + b"?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: bridge\r\n\r\n",
}
# What else than 400 is the answer.
STATUS = {
    "chunk size that overflows": 413,
    "line without an end": 431,
}

# Each is one request, with the body it has.
CLEAR: dict[str, tuple[bytes, bytes]] = {
    "length": (post(LENGTH), BODY),
    "length with zeros before": (post(b"Content-Length: 0005"), BODY),
    "length between white space": (post(b"Content-Length: \t5 \t"), BODY),
    "chunks": (chunked(CHUNKS), BODY),
    "chunks in other letters": (post(b"transfer-ENCODING:\tChunked\t", body=CHUNKS), BODY),
    "several chunks": (chunked(b"1\r\nh\r\n04\r\nello\r\n000\r\n\r\n"), BODY),
    "chunks of line ends": (chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n"),
    "chunk with extensions": (chunked(b'5;a;b=c;d="e f"\r\nhello\r\n0;last\r\n\r\n'), BODY),
    "chunks and trailers": (chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More:\r\n\r\n"), BODY),
    "no body": (post(body=b""), b""),
    "body of a GET": (post(LENGTH, first=b"GET " + PATH + b" HTTP/1.1"), BODY),
    "body of a GET that is a request": (
        post(b"Content-Length: %d" % len(NEXT), body=NEXT, first=b"GET " + PATH + b" HTTP/1.1"), NEXT
    ),
    "names with underscores": (post(LENGTH, b"Content_Length: 1", b"Transfer_Encoding: chunked", b"Ho_st: evil"), BODY),
    "empty line before": (b"\r\n" + post(LENGTH), BODY),
    "whole address": (post(LENGTH, first=TARGET % (b"http://bridge" + PATH)), BODY),
    "whole address in capitals": (post(LENGTH, first=TARGET % (b"HTTP://BRIDGE" + PATH)), BODY),
    "host with a port": (post(LENGTH, host=b"Host: bridge:8080"), BODY),
    "host by number": (post(LENGTH, host=b"Host: [::1]:8080"), BODY),
    "expecting to go on": (post(LENGTH, b"Expect: 100-continue"), BODY),
    "expecting to go on, with chunks": (chunked(CHUNKS, b"Expect: 100-continue"), BODY),
    "expecting to go on, without a body": (post(b"Expect: 100-continue", body=b""), b""),
    "HTTP/1.0, to be kept": (post(LENGTH, b"Connection: keep-alive", first=b"POST " + PATH + b" HTTP/1.0"), BODY),
    "HTTP/1.0 without a host": (
        post(LENGTH, b"Connection: keep-alive", first=b"POST " + PATH + b" HTTP/1.0", host=b""), BODY
    ),
}  # fmt: skip
