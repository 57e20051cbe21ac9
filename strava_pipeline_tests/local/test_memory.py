"""How much memory there is for us: the lowest limit of the machine and of both versions of control groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from strava_pipeline.local import memory
from strava_pipeline.local.memory import usable_memory

MACHINE = psutil.virtual_memory().total
NO_LIMIT_V1 = str(2**63 - 4096)


@pytest.fixture
def in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Mapping[str, str]], None]:
    """Puts this process into control groups, as the kernel shows them."""

    def put(own: str, limits: Mapping[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, limit in limits.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{limit}\n")
        monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
        monkeypatch.setattr(memory, "GROUPS", tmp_path)

    return put


@pytest.mark.parametrize(
    ("own", "limits", "found"),
    [
        ("0::/system.slice/strava.service\n", {"system.slice/strava.service/memory.max": "1000"}, 1000),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "900", "memory.max": "max"}, 900),
        # A container sees its own part of the groups.
        ("0::/docker/1234\n", {"memory.max": "800"}, 800),
        ("4:memory:/a\n3:cpuset:/b\n0::/\n", {"memory/a/memory.limit_in_bytes": "700"}, 700),
        (
            "5:cpu,memory:/a/b\n",
            {"memory/a/memory.limit_in_bytes": "600", "memory/a/b/memory.limit_in_bytes": "650"},
            600,
        ),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": NO_LIMIT_V1}, MACHINE),
        ("4:memory:/docker/1234\n", {"memory/memory.limit_in_bytes": "500"}, 500),
        ("0::/a\n", {}, MACHINE),
        ("", {"memory.max": "400"}, MACHINE),
    ],
)
def test_the_lowest_limit_counts(
    in_groups: Callable[[str, Mapping[str, str]], None], own: str, limits: Mapping[str, str], found: int
) -> None:
    in_groups(own, limits)
    assert usable_memory() == found


def test_a_kernel_without_control_groups_has_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "none")
    assert usable_memory() == MACHINE
