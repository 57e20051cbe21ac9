"""What the ``dagster.yaml`` of a Dagster that is not ours to write lacks, of the blocks that our runs count on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

RUN_MONITORING = "run_monitoring"
POOLS_BY_RUN = "concurrency: pools: granularity: run"
RETENTION = "retention"


def missing_blocks(instance_file: Path) -> list[str]:
    """Return which of the blocks are missing or switched off; all of them without the file.

    None are returned of a file that is no YAML, which Dagster itself refuses.
    """
    try:
        found: Any = yaml.safe_load(instance_file.read_text(encoding="utf-8")) if instance_file.is_file() else None
    except yaml.YAMLError:
        return []
    there = {
        # As in Dagster, the block alone switches nothing on.
        RUN_MONITORING: bool(_value(found, "run_monitoring", "enabled")),
        POOLS_BY_RUN: _value(found, "concurrency", "pools", "granularity") == "run",
        RETENTION: bool(_value(found, "retention")),
    }
    return [block for block, is_there in there.items() if not is_there]


def _value(found: Any, *keys: str) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
