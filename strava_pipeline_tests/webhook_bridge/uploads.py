"""Archives to upload, and what the script of the upload pages does with them, without a browser."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.files.archive.made_archives import LAYOUTS, cells, table_bytes

MIB = 2**20
# Method, path, headers, and body or form of a request; returns status and JSON.
Send = Callable[[str, str, Mapping[str, str], bytes | dict[str, str]], tuple[int, dict[str, Any]]]


def archive(athlete_id: int | None, filler_bytes: int = 0, seed: int = 1) -> bytes:
    """An archive of one athlete, with a photo of so many bytes that cannot be compressed; ``None``: it names nobody."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        row = cells(LAYOUTS["103"], id=str(seed), filename="")
        made.writestr("activities.csv", table_bytes([row], LAYOUTS["103"]))
        if athlete_id is not None:
            made.writestr("profile.csv", f"Athlete ID,Email Address\n{athlete_id},a@example.org\n")
        if filler_bytes:
            made.writestr("media/a.jpg", noise(filler_bytes, seed))
    return packed.getvalue()


def noise(length: int, seed: int) -> bytes:
    """So many bytes, always the same for a seed."""
    return hashlib.shake_128(str(seed).encode()).digest(length)


def ends_hash(content: bytes) -> str:
    """The hash by which the same file is known."""
    ends = content if len(content) <= 2 * MIB else content[:MIB] + content[-MIB:]
    return hashlib.sha256(ends).hexdigest()


@dataclass
class Uploader:
    """Uploads one file at an address, part by part."""

    send: Send
    address: str
    csrf: str
    content: bytes
    name: str = "export_11.zip"
    standing: dict[str, Any] | None = None

    def ask(self, what: str, **fields: object) -> tuple[int, dict[str, Any]]:
        form = {"csrf": self.csrf} | {name: str(value) for name, value in fields.items()}
        return self.send("POST", f"{self.address}/{what}", {}, form)

    def begin(self) -> tuple[int, dict[str, Any]]:
        told = self.ask("begin", name=self.name, size=len(self.content), ends=ends_hash(self.content))
        if told[0] == 200:
            self.standing = told[1]
        return told

    def put(self, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Send the next part, or another ``body``."""
        assert self.standing is not None
        offset, length = self.standing["offset"], self.standing["part_bytes"]
        part = self.content[offset : offset + length] if body is None else body
        told = {"Upload-Ticket": self.standing["ticket"], "Upload-Checksum": hashlib.sha256(part).hexdigest()}
        answer = self.send("PUT", self.standing["parts"], told | headers, part)
        if answer[0] == 200:
            self.standing = answer[1]
        return answer

    def put_in_time(self) -> int:
        """Send the next part, anew while there is no room for it, as the page's script does; returns the status."""
        answers: list[int] = []

        def is_answered() -> bool:
            answers.append(self.put()[0])
            return answers[-1] != HTTPStatus.SERVICE_UNAVAILABLE

        # A busy server may not have put the part before it away.
        eventually(is_answered, "room for a part")
        return answers[-1]

    def put_rest(self) -> None:
        """Send all parts that are left."""
        assert self.standing is not None
        while self.standing["ticket"] is not None:
            assert self.put_in_time() == HTTPStatus.OK

    def finish(self, **fields: object) -> tuple[int, dict[str, Any]]:
        assert self.standing is not None
        return self.ask("finish", upload=self.standing["upload"], **fields)

    def cancel(self) -> tuple[int, dict[str, Any]]:
        assert self.standing is not None
        return self.ask("cancel", upload=self.standing["upload"])


def json_of(text: str) -> dict[str, Any]:
    """The content of an answer in JSON; nothing if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
