"""The limit of open files, which include connections."""

from __future__ import annotations

import resource


def raise_file_limit(connections: int, other_files: int) -> int:
    """Raise this process' limit of open files to ``connections`` plus ``other_files``, as far as the kernel allows.

    Returns how many connections may be open: what ``other_files`` leave, and at least half of the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + other_files
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - other_files, allowed // 2)
