"""Prevention of core dumps, since a process has keys in its memory.

It uses the resource limit for core dumps, which child processes inherit. PR_SET_DUMPABLE is not inherited by programs
that a process starts, and would hide our processes from ourselves in /proc.
"""

from __future__ import annotations

import resource

# No core dump is so small, so none is written to a file. With exactly this value the kernel also does not start the
# program that core_pattern may name (fs/coredump.c); with 0 it would start it and give it the core dump.
_NONE_BYTES = 1


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process and its children for good.

    It changes the process, so only our own programs call it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = _NONE_BYTES if hard == resource.RLIM_INFINITY else min(_NONE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (allowed, allowed))
