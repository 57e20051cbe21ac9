"""How many files, connections among them, this process may have open."""

from __future__ import annotations

import resource


def room_for_connections(connections: int, other_files: int) -> int:
    """How many connections may be open, beside ``other_files``; asks the kernel for them, as far as it allows.

    Where it allows few files at all, half of them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + other_files
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - other_files, allowed // 2)
