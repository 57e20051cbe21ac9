"""Headers as they go over the wire: what programs read is never encoded, what people read always can be.

Python's own folding turns every word that is longer than a line into RFC 2047's encoding, addresses of pages and
identifiers among them; no mail program takes those back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from typing import Any

# RFC 5322, 2.1.1: octets, without the line's end.
USUAL_LINE = 78
# A line has 998 at most; this leaves room for the longest name of a header beside the word.
LONGEST_WORD = 950
# RFC 2047, 2: of an encoded word; its lines may hold one more for the space in front.
ENCODED_LINE = 76
NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What programs read in our mails. Only the subject is somebody's words.
MACHINE_HEADERS = (
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Content-ID",
)


class MachineHeader(BaseHeader):
    """Printable ASCII, folded at white space only (RFC 5322, 2.2.3). ``ValueError`` if that cannot be."""

    max_count = 1

    @classmethod
    def parse(cls, value: Any, kwds: dict[str, Any]) -> None:
        text = str(value)
        if not (text.isascii() and text.isprintable()):
            raise ValueError("a header for programs is printable ASCII")
        if max(map(len, text.split(" "))) > LONGEST_WORD:
            raise ValueError("a word of a header is longer than a line may be")
        kwds["decoded"], kwds["parse_tree"] = text, None

    def fold(self, *, policy: Policy) -> str:
        return policy.linesep.join(_lines(self.name, str(self))) + policy.linesep


class WordsHeader(BaseHeader):
    """Somebody's words: encoded (RFC 2047) unless they are short ASCII that cannot be taken for something encoded.

    ``ValueError`` if they hold a control character, a line's end among them.
    """

    max_count = 1

    @classmethod
    def parse(cls, value: Any, kwds: dict[str, Any]) -> None:
        text = str(value)
        if any(unicodedata.category(character) in NO_TEXT for character in text):
            raise ValueError("a header holds control characters")
        kwds["decoded"], kwds["parse_tree"] = text, None

    def fold(self, *, policy: Policy) -> str:
        plain = f"{self.name}: {self}"
        if self.isascii() and "=?" not in self and len(plain) <= USUAL_LINE:
            return plain + policy.linesep
        encoded = Header(str(self), "utf-8", maxlinelen=ENCODED_LINE, header_name=self.name)
        return f"{self.name}: {encoded.encode(linesep=policy.linesep)}{policy.linesep}"


def _lines(name: str, text: str) -> Iterator[str]:
    """Lines of the usual length, or as long as one word; all but the first begin with the space they were cut at."""
    first, *words = text.split(" ")
    line = f"{name}: {first}"
    for word in words:
        # Where two spaces meet nothing is cut: a line of white space alone could be taken for the headers' end.
        if word and not line.endswith(" ") and len(line) + 1 + len(word) > USUAL_LINE:
            yield line
            line = ""
        line += f" {word}"
    yield line


def _policy() -> EmailPolicy[EmailMessage]:
    registry = HeaderRegistry()
    for name in MACHINE_HEADERS:
        registry.map_to_type(name, MachineHeader)
    registry.map_to_type("Subject", WordsHeader)
    return SMTP.clone(header_factory=registry)


# Every mail is written with it.
POLICY = _policy()
