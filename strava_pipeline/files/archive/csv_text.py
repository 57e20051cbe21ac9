"""Tables as rows of cells: text as Strava and spreadsheets write it, one row in memory at a time.

Format: https://www.rfc-editor.org/rfc/rfc4180, with line breaks of either kind within cells.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final, Self

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits

# Spreadsheets write the last two, by their language or in their "Unicode text".
_DELIMITERS: Final = (",", ";", "\t")
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WHOLE_FILE: Final = "hand over the archive as Strava sent it"
_field_limit = Lock()


def csv_rows(stream: io.BufferedReader, what: str, limits: ArchiveLimits) -> Generator[tuple[int, list[str]]]:
    """Yield each row, the header first, with the number of its first line; blank rows are left out.

    ``UnreadableFile``, naming the table as ``what``, if it is not UTF-8, nor UTF-16 with its mark, or if a cell, row or
    the table is beyond ``limits``.
    """
    with stream, _Lines(stream, what, limits.row_characters) as lines:
        reader = csv.reader(lines, delimiter=lines.delimiter)
        count = 0
        while True:
            first_line = reader.line_num + 1
            with _cells_of_at_most(limits.cell_characters):
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    raise UnreadableFile(f"{what}, line {first_line}: {error}; {_WHOLE_FILE}") from None
            lines.begin_row()
            if row is None:
                return
            count += 1
            if count > limits.table_rows + 1:
                raise UnreadableFile(f"{what} has more than the {limits.table_rows:,} rows that are read")
            if any(cell and not cell.isspace() for cell in row):
                yield first_line, row


class _Lines:
    """The lines of a table with their ends; one row may take ``most`` characters."""

    def __init__(self, stream: io.BufferedReader, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken = 0
        encoding = "utf-16" if stream.peek(2).startswith(_UTF16_MARKS) else "utf-8-sig"
        # Line ends stay as they are: those within cells belong to their text.
        self._text = io.TextIOWrapper(stream, encoding, "strict", newline="")
        self._first: str | None = self._line()
        self.delimiter = max(_DELIMITERS, key=self._first.count)

    def begin_row(self) -> None:
        self._taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._first = self._line() if self._first is None else self._first, None
        if not line:
            raise StopIteration
        return line.replace("\0", "")  # which Postgres cannot hold

    def _line(self) -> str:
        try:
            line = self._text.readline(self._most - self._taken + 1)
        except UnicodeError:
            raise UnreadableFile(f"{self._what} is neither UTF-8 nor UTF-16 with its mark: {_WHOLE_FILE}") from None
        self._taken += len(line)
        if self._taken > self._most:
            raise UnreadableFile(f"{self._what} has a row of more than {self._most:,} characters: {_WHOLE_FILE}")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()


@contextmanager
def _cells_of_at_most(characters: int) -> Iterator[None]:
    """Set csv's limit on cells for one row. It holds for the whole process, so that others find theirs again after."""
    with _field_limit:
        before = csv.field_size_limit(characters)
        try:
            yield
        finally:
            csv.field_size_limit(before)
