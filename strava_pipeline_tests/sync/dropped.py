"""Files that somebody drops into the watched folder."""

from __future__ import annotations

import os
from pathlib import Path


def drop(root: Path, name: str, content: bytes = b"content", *, at: float | None = None) -> Path:
    """Write a file, and its folder; ``at``: when it seems to be of (epoch, s)."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at, at))
    return path
