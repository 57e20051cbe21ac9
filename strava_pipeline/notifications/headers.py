"""Formats the headers of mails: headers for programs are never encoded, those for people where needed.

Python's own folding encodes every word that is longer than a line (RFC 2047), URLs and identifiers included; mail
programs do not decode these.
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
# A line has 998 octets at most; this leaves room for the longest name of a header beside the word.
LONGEST_WORD = 950
# RFC 2047, 2: a line with an encoded word.
ENCODED_LINE = 76
NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
# The headers of our mails that programs read. Only the subject is for people.
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
    """A header for programs: printable ASCII, folded at white space only (RFC 5322, 2.2.3).

    ``ValueError`` for other characters, and for a word that is longer than a line.
    """

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
    """A header for people: encoded (RFC 2047) unless it is short ASCII that cannot be taken for an encoded word.

    ``ValueError`` if the text contains a control character, such as a line break.
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
    """Lines of the usual length, or of one longer word; each but the first begins with the space at the cut."""
    first, *words = text.split(" ")
    line = f"{name}: {first}"
    for word in words:
        # No cut between two spaces: a line of white space alone could be taken for the end of the headers.
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


# The policy of all mails.
POLICY = _policy()
